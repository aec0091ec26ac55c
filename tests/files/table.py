"""Access files and what they allow: decisions that Mosquitto 2.0 and Midge must make alike."""

#: What one letter asks about.
ACTIONS = {"r": "deliver", "w": "publish", "s": "subscribe", "u": "unsubscribe"}


class Case:
    """An access file and, for clients and topics, what is allowed.

    An entry is (user, client id, topic, letters): of `r` deliver, `w` publish, `s` subscribe those that are
    allowed. A fifth part is what Mosquitto 2.0 allows instead where Midge differs on purpose.
    """

    def __init__(self, name, rules, *entries):
        self.name = name
        self.rules = rules
        self.entries = entries

    def questions(self):
        """Everything that is asked, as (user, client id, action, topic)."""
        return [
            (user, client_id, ACTIONS[letter], topic)
            for user, client_id, topic, *_ in self.entries
            for letter in _asked(topic)
        ]

    def allowed(self):
        """The questions to which Midge says yes."""
        return self._allowed(lambda entry: entry[3])

    def allowed_by_mosquitto(self):
        """The questions to which Mosquitto says yes."""
        return self._allowed(lambda entry: entry[-1])

    def _allowed(self, letters):
        return [
            (entry[0], entry[1], ACTIONS[letter], entry[2])
            for entry in self.entries
            for letter in _asked(entry[2])
            if letter in letters(entry) or letter == "s"
        ]


def _asked(topic):
    # Subscribing is never refused by these files.
    return "s" if "#" in topic or "+" in topic else "rws"


CASES = [
    Case(
        "clients without user name",
        "topic read a\ntopic write b\ntopic c\ntopic readwrite d\ntopic deny e\n",
        (None, "c", "a", "r"),
        (None, "c", "b", "w"),
        (None, "c", "c", "rw"),
        (None, "c", "d", "rw"),
        (None, "c", "e", ""),
        (None, "c", "f", ""),
        ("bob", "c", "a", ""),
        ("bob", "c", "c", ""),
        (None, "c", "#", "s"),
    ),
    Case(
        "no rule at all",
        "# nothing\n\n",
        (None, "c", "a", ""),
        ("bob", "c", "a", ""),
        ("bob", "c", "a/#", "s"),
    ),
    Case(
        "users and their sections",
        "user bob\ntopic read a/#\nuser eve smith  \ntopic a/b\nuser bob\ntopic write a/b\nuser nobody\n",
        ("bob", "c", "a", "r"),
        ("bob", "c", "a/b", "rw"),
        ("bob", "c", "a/b/c", "r"),
        ("eve smith", "c", "a/b", "rw"),
        ("eve", "c", "a/b", ""),
        ("nobody", "c", "a/b", ""),
        (None, "c", "a/b", ""),
    ),
    Case(
        "deny wins within a section",
        "user bob\ntopic a/#\ntopic deny a/x/#\ntopic a/x/open\ntopic deny b\ntopic b\n",
        ("bob", "c", "a/y", "rw"),
        ("bob", "c", "a/x", ""),
        ("bob", "c", "a/x/open", ""),
        ("bob", "c", "b", ""),
    ),
    Case(
        "own rules come before patterns",
        "pattern deny d/%c/no\npattern read d/%c/#\nuser bob\ntopic d/c1/no\ntopic write d/#\n"
        "topic deny d/c3/#\n",
        ("bob", "c1", "d/c1/no", "rw"),
        ("bob", "c2", "d/c2/no", "w"),
        ("bob", "c2", "d/c2/yes", "rw"),
        ("bob", "c3", "d/c3/yes", ""),
        ("eve", "c1", "d/c1/no", ""),
        ("eve", "c1", "d/c1/yes", "r"),
        (None, "c1", "d/c1/yes", "r"),
    ),
    Case(
        "patterns replace names",
        "pattern write %u/%c/up\npattern read x/%u\npattern y/a%cb%u\npattern %%c/100%\n",
        ("bob", "c1", "bob/c1/up", "w"),
        ("bob", "c1", "bob/c1", ""),
        ("bob", "c1", "x/bob", "r"),
        ("bob", "c1", "x/bobby", ""),
        ("bob", "c1", "x/%u", ""),
        ("bob", "c1", "y/ac1bbob", "rw"),
        ("bob", "c1", "%c1/100%", "rw"),
        (None, "c1", "x/", ""),
        (None, "c1", "%c1/100%", "rw"),
    ),
    Case(
        "patterns without names are for everybody",
        "user bob\ntopic a\npattern read all/+\npattern deny all/not\n",
        (None, "c", "all/x", "r"),
        ("bob", "c", "all/x", "r"),
        ("eve", "c", "all/not", ""),
        ("bob", "c", "a", "rw"),
    ),
    Case(
        "names with slashes go over levels",
        "pattern a/%c/#\npattern b/%u\n",
        ("u/v", "x/y", "a/x/y", "rw"),
        ("u/v", "x/y", "a/x/y/z", "rw"),
        ("u/v", "x/y", "a/x/z", ""),
        ("u/v", "x/y", "b/u/v", "rw"),
        ("u/v", "x/y", "b/u", ""),
    ),
    Case(
        "names with wildcards meet no pattern",
        "user a+\ntopic own\npattern free/#\npattern %c/x\n",
        ("a+", "c", "own", "rw"),
        ("a+", "c", "free/x", ""),
        ("a#", "c", "free/x", ""),
        ("bob", "c+", "free/x", ""),
        ("bob", "c#", "free/x", ""),
        (None, "+", "a/x", ""),
        ("bob", "c", "free/x", "rw"),
    ),
    Case(
        "names with wildcards matter with patterns only",
        "user a+\ntopic own\n",
        ("a+", "c#", "own", "rw"),
    ),
    Case(
        "topics with a dollar",
        "topic #\ntopic +/a\ntopic read $x/#\nuser bob\ntopic $x/+\npattern %c/p\n",
        (None, "c", "a", "rw"),
        (None, "c", "$x/a", "r"),
        (None, "c", "$x", "r"),
        ("bob", "c", "$x/a", "rw"),
        ("bob", "c", "x$x/a", ""),
        # In 2.0 a client can call itself what a topic begins with.
        ("eve", "$x", "$x/p", "", "rw"),
    ),
    Case(
        "wildcards",
        "topic a/+/c\ntopic b/#\ntopic /+\ntopic d/+/#\ntopic e//f\n",
        (None, "c", "a/b/c", "rw"),
        (None, "c", "a//c", "rw"),
        (None, "c", "a/c", ""),
        (None, "c", "b", "rw"),
        (None, "c", "b/", "rw"),
        (None, "c", "bb", ""),
        (None, "c", "/", "rw"),
        (None, "c", "x/y", ""),
        (None, "c", "d", ""),
        (None, "c", "d/e", "rw"),
        (None, "c", "e//f", "rw"),
        (None, "c", "e/f", ""),
    ),
    Case(
        "spaces and words",
        "  topic   read   a b  c \t\r\ntopic read\ntopic deny\ntopic write read x\ntopic readwrite deny y\n",
        (None, "c", "a b  c", "r"),
        (None, "c", "read", "rw"),
        (None, "c", "deny", "rw"),
        (None, "c", "read x", "w"),
        (None, "c", "deny y", "rw"),
    ),
    Case(
        "an empty user name is none",
        "topic a\npattern x/%u\npattern y/%c\n",
        ("", "c", "a", "rw"),
        ("", "c", "y/c", "rw"),
        ("", "c", "x/", ""),
    ),
]

#: Files with which a broker does not start.
WRONG = [
    "topic\n",
    "topic   \n",
    "user\n",
    "users bob\n",
    "Topic a\n",
    "topic\ta\n",
    " # comment\n",
    "topic a b\n",
    "topic rw a\n",
    "topic a#\n",
    "topic #/a\n",
    "topic read a+/b\n",
    "pattern a+%c\n",
    "topic " + "/" * 201 + "\n",
]
