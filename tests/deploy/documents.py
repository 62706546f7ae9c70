"""That the documents for operators lead somewhere: links, anchors, scripts, and the tests that commands name."""

import re

import tools

ROOT = tools.ROOT


def check(expect):
    """Calls `expect(holds, mistake)` for everything that must hold."""
    pages = [*sorted((ROOT / "docs/ops").glob("*.md")), ROOT / "deploy/k8s/README.md"]
    for page in pages:
        text, name = page.read_text(), page.relative_to(ROOT)
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
            expect(target.startswith("http") or leads(page, target), f"{name}: {target} leads nowhere")
        for script in set(re.findall(r"(?<![\w/.-])((?:scripts|bench|deploy|tests|sdk)/[\w./-]+\.(?:sh|py|yaml|yml|json|template))\b", text)):
            expect((ROOT / script).exists(), f"{name}: no {script}")
        for test, words in set(re.findall(r"cargo test (?:--release )?--test (\w+)((?: \w+)*)", text)):
            for word in words.split():
                expect(tested(test, word), f"{name}: no test {word} in {test}")


def leads(page, target):
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M) if anchor else []
    return not anchor or anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]


def tested(test, word):
    """Some test function, or module, of that test program has the word in its name."""
    files = [ROOT / f"tests/{test}.rs", *(ROOT / "tests" / test).glob("*.rs")]
    names = [file.stem for file in files[1:]]
    for file in files:
        names += re.findall(r"\bfn (\w+)\(", file.read_text()) if file.exists() else []
    return any(word in name for name in names)
