"""Calico's policies in Cilium's words, proved equal or refused."""
