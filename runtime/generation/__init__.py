"""Generating text: decoders with and without a cache, sampling, beam search."""
