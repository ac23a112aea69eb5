"""What stands in for an AI: answers at once, costs nothing, and says so."""


def answer(prompt: str) -> str:
    """An answer that shows that the prompt arrived."""
    words = prompt.split()
    return f"You wrote {len(words)} words, {' '.join(words[:3])!r} first. (A stand-in for an AI wrote this.)"


def tokens(text: str) -> int:
    """About as many tokens as a text has: four letters each."""
    return max(1, -(-len(text) // 4))
