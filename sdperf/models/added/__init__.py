"""Files that replace parts of a model or are added to it: single files of weights, LoRAs."""
