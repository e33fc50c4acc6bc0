"""A figure, drawn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """One figure as a file.

    Attributes:
        name: The file's, without the ending.
        alt: What it shows, in words, for who cannot see it.
        png: The file.
        width: In pixels.
        height: In pixels.
    """

    name: str
    alt: str
    png: bytes
    width: int
    height: int
