"""From files and objects to values of `model`, or an error with the line."""
