"""Are the images still right? From finite numbers to pixels, each layer a question."""


def test_soundness(sd_quality):
    """L0: are the latents finite at every step, and is no image flat or of the wrong shape?"""
    sd_quality.soundness()


def test_repeatability(sd_quality):
    """L1: is the same seed the same image, in the same process and in a fresh one?"""
    sd_quality.repeatability()


def test_components(sd_quality):
    """L2: do text encoder, denoiser and VAE agree with fp32, each on the inputs it had there?"""
    sd_quality.components()


def test_trajectory(sd_quality):
    """L3: do the latents follow those of fp32, and if not, from which step on?"""
    sd_quality.trajectory()


def test_images(sd_quality):
    """L4: do eight images look as their references do, each by its floors, all by a paired test?"""
    sd_quality.images()


def test_batch(sd_quality):
    """Is image k of a batch the image that its noise gives alone?"""
    sd_quality.batch()
