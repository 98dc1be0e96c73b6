"""MathML as TeX, where a page gives no TeX of its own."""

from server.library.extraction.html.tree import Element

# Pairs: a character and its TeX.
_PAIRS = r"""
− -  × \times  · \cdot  ⋅ \cdot  ≤ \leq  ≥ \geq  ≠ \neq  ∑ \sum  ∏ \prod  ∫ \int  ∞ \infty  → \to  ← \leftarrow
∈ \in  ∉ \notin  ± \pm  … \dots  ⋯ \cdots  ∂ \partial  ∇ \nabla  ≈ \approx  ∼ \sim  ⟨ \langle  ⟩ \rangle  ∗ *
∣ \mid  ∥ \|  ‖ \|  ∝ \propto  ⊙ \odot  ⊗ \otimes  ⊕ \oplus  ∪ \cup  ∩ \cap  ⊂ \subset  ⊆ \subseteq  ∀ \forall
∃ \exists  ⇒ \Rightarrow  ⇔ \Leftrightarrow  ≔ :=  ≡ \equiv  √ \surd  ℝ \mathbb{R}  ℕ \mathbb{N}  ℤ \mathbb{Z}
𝔼 \mathbb{E}  ℓ \ell  ⊤ \top  ⊥ \perp  ⌊ \lfloor  ⌋ \rfloor  ⌈ \lceil  ⌉ \rceil  ′ '  { \{  } \}  % \%  & \&
# \#  _ \_  ≪ \ll  ≫ \gg
""".split()
_SYMBOLS = {
    **{one: f"{tex} " if tex[-1].isalpha() else tex for one, tex in zip(_PAIRS[::2], _PAIRS[1::2], strict=True)},
    **dict.fromkeys("\u2061\u2062\u2063\u2064", ""),  # signs that are not seen
}
_LETTERS = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩϵϕϑς"
_NAMES = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega epsilon phi vartheta varsigma"
).split()
_GREEK = dict(zip(_LETTERS, (f"\\{name} " for name in _NAMES), strict=True))
_ACCENTS = {
    "^": "hat",
    "ˆ": "hat",
    "~": "tilde",
    "˜": "tilde",
    "¯": "bar",
    "‾": "bar",
    "→": "vec",
    "⃗": "vec",
    "˙": "dot",
}
_FUNCTIONS = {
    "sin",
    "cos",
    "tan",
    "log",
    "ln",
    "exp",
    "max",
    "min",
    "sup",
    "inf",
    "lim",
    "det",
    "dim",
    "ker",
    "arg",
    "tanh",
}
# The shape of each element with a fixed number of parts.
_SHAPES = {
    "mfrac": r"\frac{{{0}}}{{{1}}}",
    "mroot": r"\sqrt[{1}]{{{0}}}",
    "msup": "{0}^{{{1}}}",
    "mover": "{0}^{{{1}}}",
    "msub": "{0}_{{{1}}}",
    "munder": "{0}_{{{1}}}",
    "msubsup": "{0}_{{{1}}}^{{{2}}}",
    "munderover": "{0}_{{{1}}}^{{{2}}}",
}
_ROW = r" \\ "
_TOKENS = ("mi", "mn", "mo", "mtext", "ms")


def to_tex(element: Element) -> str:
    """The TeX of a `math` element; what is unknown is given by its parts."""
    name = str(element.tag).rpartition("}")[2].rpartition(":")[2]
    if name in _TOKENS:
        return _token(element, name)
    if name in ("annotation", "annotation-xml"):
        return ""
    parts = [to_tex(part) for part in element if isinstance(part.tag, str)]
    if name == "mover" and len(parts) == 2 and parts[1].strip() in _ACCENTS:
        return rf"\{_ACCENTS[parts[1].strip()]}{{{parts[0]}}}"
    shape = _SHAPES.get(name)
    if shape and len(parts) == 2 + (name in ("msubsup", "munderover")):
        return shape.format(*parts)
    return _joined(name, parts, element)


def _joined(name: str, parts: list[str], element: Element) -> str:
    if name == "msqrt":
        return rf"\sqrt{{{''.join(parts)}}}"
    if name == "mtr":
        return " & ".join(parts)
    if name == "mtable":
        return rf"\begin{{matrix}}{_ROW.join(parts)}\end{{matrix}}"
    if name == "mfenced":
        return (
            (element.get("open") or "(")
            + (element.get("separators") or ",")[:1].join(parts)
            + (element.get("close") or ")")
        )
    if name == "mspace":
        return " "
    return "".join(parts)


def _token(element: Element, name: str) -> str:
    text = "".join(element.itertext()).strip()
    if name == "mtext":
        return rf"\text{{{text}}}" if text else " "
    tex = "".join(_GREEK.get(letter) or _SYMBOLS.get(letter, letter) for letter in text)
    if name in ("mi", "mo") and text in _FUNCTIONS:
        return f"\\{text} "
    return rf"\mathrm{{{tex}}}" if name == "mi" and len(text) > 1 and text.isalpha() else tex
