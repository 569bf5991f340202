"""Records of a word, a space and numbers as they lie in memory, taken apart."""

from __future__ import annotations

from embedkit.kernels.compiled import exactly
from embedkit.kernels.parse_text import LONGEST_WORD, Bytes

_NUL, _LF, _CR, _SPACE = 0, 10, 13, 32


@exactly
def take_records(
    block: Bytes, at: int, held: int, breaks: int, vectors: Bytes, row: int, words: Bytes
) -> tuple[int, int, int]:
    """Take whole records until they end, `vectors` is full, or one needs a closer look.

    Parameters
    ----------
    block
        Bytes; those before `held` are of the file.
    at, held
        Where to begin and end.
    breaks
        1 if a line feed follows each record, else 0.
    vectors
        (n, size): the bytes of n vectors; what is filled, from `row` on.
    row
        The first row to fill.
    words
        Takes the words, a line feed after each; as long as the block.

    Returns
    -------
    tuple of int
        Where the first record starts that was not taken, the first row not filled, and how many bytes of `words` were.
    """
    used, size = 0, vectors.shape[1]
    while row < len(vectors):
        space = at
        while space < held and block[space] not in (_SPACE, _LF, _CR, _NUL):
            words[used + space - at] = block[space]
            space += 1
        end = space + 1 + size
        if end + breaks > held or block[space] != _SPACE or space - at > LONGEST_WORD:
            break
        if breaks and block[end] != _LF:
            break
        vectors[row] = block[space + 1 : end]
        used += space - at
        words[used] = _LF
        used += 1
        row += 1
        at = end + breaks
    return at, row, used
