"""Commands that read saved runs, such as compare, report and history."""
