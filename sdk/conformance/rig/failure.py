"""How a scenario ends when it does not pass."""


class Failure(Exception):
    """The program under test, or what it was told to do, did not do what was expected."""


class Skip(Exception):
    """It can't be tried here; the text says why."""


def expect(condition, what):
    if not condition:
        raise Failure(what)
