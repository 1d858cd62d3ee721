"""What kernels are called, by their names on an H100."""

import pytest

from evidence.network_calls.kernels import OTHER, divide_by_kind, name_kind


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("fmha_cutlassF_f16_aligned_32x128_gmem_sm80", "attention"),
        ("nvjet_sm90_hsh_128x256_64x4_2x1_v_bz_coopA_bias_TNN", "matrix product"),
        (
            "triton_per_fused_clone_convolution_native_group_norm_silu_48",
            "fused norms and elementwise",
        ),
        ("void cudnn::ops::nchwToNhwcKernel<__half>", "changes of layout"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("void at::native::vectorized_elementwise_kernel<4>", OTHER),
    ],
)
def test_each_kernel_has_a_kind(kernel, kind):
    assert name_kind(kernel) == kind


def test_milliseconds_add_up_by_kind_the_longest_first():
    divided = divide_by_kind([("triton_a", 0.25), ("nvjet_x", 1.0), ("triton_b", 0.5)])
    assert list(divided.items()) == [("matrix product", 1.0), ("fused norms and elementwise", 0.75)]
