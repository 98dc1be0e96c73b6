"""Splits JSON into tokens."""

SPACES = " \t\n\r"
MARKS = "{}[]:,"
DIGITS = "0123456789"
HEX_DIGITS = "0123456789abcdefABCDEF"
WORDS = ("true", "false", "null")


def tokens(text):
    """The tokens of `text` as a list of [kind, start, end].

    Kinds are the six marks themselves, "string", "number", "word" and "error". Where no token begins, the list ends
    with ["error", place, place].
    """
    found = []
    at = 0
    while at < len(text):
        if is_space(text[at]):
            at += 1
            continue
        kind, end = token(text, at)
        found.append([kind, at, end])
        if kind == "error":
            break
        at = end
    return found


def token(text, at):
    """Kind and end of the token that begins at `at`."""
    char = text[at]
    if char in MARKS:
        return char, at + 1
    if char == '"':
        end = end_of_string(text, at + 1)
        return ("string", end) if end else ("error", at)
    if char == "-" or char in DIGITS:
        end = end_of_number(text, at)
        return ("number", end) if end else ("error", at)
    for word in WORDS:
        if text.startswith(word, at):
            return "word", at + len(word)
    return "error", at


def is_space(char):
    return char in SPACES


def end_of_string(text, at):
    """Where the string ends whose first character is at `at`; 0 if it is none."""
    while at < len(text):
        char = text[at]
        if char == '"':
            return at + 1
        if char == "\\":
            at = end_of_escape(text, at)
            if not at:
                return 0
        elif char < " ":
            return 0
        else:
            at += 1
    return 0


def end_of_escape(text, at):
    """Where the escape ends that begins at `at`; 0 if it is none."""
    name = text[at + 1 : at + 2]
    if name == "u":
        code = text[at + 2 : at + 6]
        return at + 6 if len(code) == 4 and all(digit in HEX_DIGITS for digit in code) else 0
    return at + 2 if name and name in '"\\/bfnrt' else 0


def end_of_number(text, at):
    """Where the number ends that begins at `at`; 0 if it is none."""
    if text[at] == "-":
        at += 1
    if text[at : at + 1] == "0":
        at += 1
    else:
        end = end_of_digits(text, at)
        if end == at:
            return 0
        at = end
    if text[at : at + 1] == ".":
        end = end_of_digits(text, at + 1)
        if end > at + 1:
            at = end
    if text[at : at + 1] in ("e", "E"):
        start = at + 2 if text[at + 1 : at + 2] in ("+", "-") else at + 1
        end = end_of_digits(text, start)
        if end > start:
            at = end
    return at


def end_of_digits(text, at):
    while at < len(text) and text[at] in DIGITS:
        at += 1
    return at
