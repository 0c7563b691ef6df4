"""Stand-in for the AWS provider: the resources and functions that this project uses, over plain AWS calls."""
