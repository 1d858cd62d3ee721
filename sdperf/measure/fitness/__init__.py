"""Whether the machine is fit to be measured: guards and the conditions they read."""
