"""What a report of sixty cases costs: seconds to make, bytes to keep, seconds to open.

``python -m evidence.report_cost`` prints it. Opening is measured in headless Chromium where there
is one. Figures of a shared machine say whether the limits hold there, nothing more.
"""
