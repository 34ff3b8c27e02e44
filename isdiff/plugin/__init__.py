"""IS-Diff inside diffusers' own inpainting pipelines: ``isdiff.apply`` and ``isdiff.remove``."""
