"""The declared cluster as Pulumi components: one file each. They decide nothing; `migration` does."""
