"""A study as Markdown, to paste or to keep. Pure."""

from __future__ import annotations

from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.text.tune import describe_memory, describe_study, describe_tried, describe_winner
from sdperf.tune.summary import Summary
from sdperf.units import UNKNOWN, format_score, format_seconds


def format_summary_markdown(summary: Summary) -> str:
    """Format a study's summary as Markdown."""
    question, default = summary.question, summary.default
    reference = format_code(question.default.describe())
    lines = [
        f"**{escape_markdown(describe_winner(summary))}**",
        "",
        f"{escape_markdown(describe_study(summary))}. On {format_code(summary.machine)}.",
        f"The default, and the reference of all images: {reference}.",
        "",
        "| trial | s/image | times as fast | SSIM | worst tile | PSNR | memory | setting |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number in summary.front:
        trial = summary.find_trial(number)
        tried, setting = trial.tried, trial.setting
        if tried is None or setting is None or tried.seconds is None or tried.fidelity is None:
            continue
        fidelity = tried.fidelity
        factor = UNKNOWN if default is None else f"{default.seconds / tried.seconds:.2f}"
        shown = format_code(setting.describe(question.default))
        psnr = "equal" if fidelity.psnr_db is None else f"{fidelity.psnr_db:.1f} dB"
        lines.append(
            f"| {number} | {format_seconds(tried.seconds)} | {factor} | "
            f"{format_score(fidelity.ssim)} | {format_score(fidelity.worst_tile_ssim)} | {psnr} | "
            f"{describe_memory(tried.memory_bytes)} | {shown} |"
        )
    if summary.confirmations:
        lines += ["", "Measured again beside the default, fresh processes and fresh seeds:", ""]
    for one in summary.confirmations:
        told = f"- trial {one.number}: {escape_markdown(f'{one.judgement}, {one.reason}')}"
        if one.speedup is not None:
            middle, least, most = one.speedup
            told += f"; {middle:.2f} times as fast ({least:.2f} to {most:.2f}), {one.blocks} blocks"
        lines.append(told)
    for name, shares in summary.importances.items():
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{dimension} {share:.0%}" for dimension, share in ordered)
        lines += ["", escape_markdown(f"What decides {name}: {told}.")]
    lines += ["", "<details><summary>All trials</summary>", ""]
    for trial in summary.trials:
        told = escape_markdown(trial.ending if trial.tried is None else describe_tried(trial.tried))
        if trial.setting is not None:
            told = f"{format_code(trial.setting.describe(question.default))}: {told}"
        lines.append(f"- {trial.number}: {told}")
    return "\n".join([*lines, "", "</details>", ""])
