"""What a refresh knows, is asked for and may do, as values, and the picture of the cluster made of them."""
