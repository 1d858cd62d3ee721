"""Stand-ins for the places where workers live."""


class StandInHost:
    """A host without a process; what its calls do is its subclass's, or its executor's."""

    def __init__(self):
        self.executor = self
        self.killed = False

    def exit_code(self):
        return None

    def last_words(self):
        return ""

    def kill(self):
        self.killed = True
