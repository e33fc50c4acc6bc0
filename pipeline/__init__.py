"""Manyfold: how good is this model on my multi-label data, honestly?"""
