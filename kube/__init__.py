"""The Kubernetes API, over whatever reaches it: requests, lists, watches, and what is read once.

Only Python's own library, and nothing of ours: this also runs inside the cluster, where nothing else is installed.
"""
