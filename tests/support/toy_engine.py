"""An engine for tests: torch itself runs the parts, so that images are those of the plain call.

Its choice's options make it go wrong: ``fault`` ``convert``, ``load`` or ``precision``.
"""

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.protocol import PreparedPart
from sdperf.errors import EngineError


def toy_choice(name="toy", **changes):
    described = {"module": "tests.support.toy_engine", "extra": "toy", "packages": (("torch",),)}
    return EngineChoice(name, "a toy", **(described | changes))


def make_engine(choice):
    if choice.options.get("fault") == "load":
        raise ImportError("libtoy.so: cannot open shared object file")
    return ToyEngine(choice)


class ToyEngine:
    prepared = 0

    def __init__(self, choice):
        self.provider = "ToyProvider"
        self.threads = None
        self._choice = choice

    def require(self, precision):
        if self._choice.options.get("fault") == "precision":
            raise EngineError(f"the toy cannot run {precision} on this processor")

    def prepare(self, parts, request, say):
        ToyEngine.prepared += 1
        if self._choice.options.get("fault") == "convert":
            raise EngineError("the unet cannot be made a toy", got="aten::fancy")
        say("toy: playing")
        found = {}
        for part in parts:

            def convert(folder, name=part.name):
                (folder / "toy.bin").write_bytes(name.encode())

            with request.cache.opened(request.conversion(part), convert) as opened:
                manifest = opened.manifest
                found[part.name] = PreparedPart(
                    run_eagerly(part), manifest.size_bytes, manifest.conversion_s, opened.was_found
                )
        return found

    def set_threads(self, threads):
        self.threads = threads


def run_eagerly(part, change=lambda tensor: tensor):
    def run(inputs):
        assert inputs.keys() == part.inputs.keys()
        for name, example in part.inputs.items():
            assert inputs[name].dtype == example.dtype
            assert inputs[name].shape[1:] == example.shape[1:]
        return tuple(map(change, part.module(*inputs.values())))

    return run
