"""The sentences that micro is trained on, all spelled out, from the grammar in grammar.txt.

    python sentences.py [COUNT]      prints some
    python sentences.py --held-out   draws held-out.txt
"""

import argparse
import random
import re
from pathlib import Path

DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
            "sixteenth seventeenth eighteenth nineteenth twentieth").split()
QUESTIONS = set("what where which who why how is can could do did does would have".split())


def below_hundred(number: int) -> str:
    if number < 20:
        return (DIGITS + TEENS)[number]
    return TENS[number // 10 - 2] + (f" {DIGITS[number % 10]}" if number % 10 else "")


def spelled(number: int) -> str:
    """The number in British English: "two thousand and five", "three hundred and twelve"."""
    if number < 100:
        return below_hundred(number)
    if number < 1000:
        rest = number % 100
        return f"{DIGITS[number // 100]} hundred" + (f" and {below_hundred(rest)}" if rest else "")
    rest = number % 1000
    joint = "" if rest >= 100 else "and "
    return f"{spelled(number // 1000)} thousand" + (f" {joint}{spelled(rest)}" if rest else "")


def ordinal(day: int) -> str:
    if day <= 20:
        return ORDINALS[day - 1]
    return "thirtieth" if day == 30 else f"{TENS[day // 10 - 2]} {ORDINALS[day % 10 - 1]}"


def any_number(rng: random.Random) -> str:
    """Half of the numbers have one or two digits, the others up to five."""
    low, high = rng.choices([(0, 99), (100, 999), (1000, 99999)], [5, 3, 2])[0]
    return spelled(rng.randint(low, high))


def several(words: list[str], least: int, most: int):
    return lambda rng: " ".join(rng.choice(words) for _ in range(rng.randint(least, most)))


def count(least: int, most: int, step: int = 1):
    return lambda rng: below_hundred(rng.randrange(least, most + 1, step))


# X-ray and november are left out: one is spelled with a hyphen, the other is a month.
NATO = ("alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike oscar papa quebec romeo sierra tango uniform "
        "victor whiskey yankee zulu").split()

# Rules implemented as functions of the random generator; grammar.txt has the others.
FUNCTIONS = dict(
    digits=several(DIGITS, 1, 9),
    few_digits=several(DIGITS, 1, 3),
    code_digits=several(DIGITS, 1, 4),
    letters=several(NATO, 1, 7),
    few_letters=several(NATO, 1, 3),
    number=any_number,
    hour=count(1, 12),
    minute=count(10, 59),
    ordinal=lambda rng: ordinal(rng.randint(1, 31)),
    to50=count(1, 50), to60=count(1, 60), to99=count(1, 99), some=count(2, 99),
)


def read_grammar(path: Path) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The alternatives of each rule, and the shares of topics."""
    rules: dict[str, list[str]] = {}
    topics: dict[str, int] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)(?: (\d+))?\]", line):
            alternatives = rules.setdefault(match[1], [])
            in_words = False
            if match[2]:
                topics[match[1]] = int(match[2])
        elif match := re.fullmatch(r"(\w+): (.*)", line):
            alternatives = rules.setdefault(match[1], [])
            alternatives += match[2].split()
            in_words = True
        else:
            alternatives += line.split() if in_words else [line]
    return rules, topics


HERE = Path(__file__).parent
HELD_OUT_TEXTS = HERE / "held-out.txt"
EXCLUDED_TEXTS = HERE / "excluded.txt"
RULES, TOPICS = read_grammar(HERE / "grammar.txt")
# The share of sentences with words in random order, which the decoder cannot guess; in training, and in the held-out
# set.
SALAD_SHARE, HELD_OUT_SALAD_SHARE = 0.30, 0.20
# Without context these sound like other words.
NOT_IN_SALAD = set("""a an and ate beans been buy by cents could for hear here his hours I I'm in is it it's its knows live lives no nose of
    or our read sent than the their then there to too won wood would""".split())


def expand(template: str, rng: random.Random) -> str:
    """Replaces the innermost choice or rule until none is left."""
    while match := re.search(r"<(\w+)>|\{([^{}]*)\}", template):
        if match[1]:
            name = match[1]
            text = FUNCTIONS[name](rng) if name in FUNCTIONS else rng.choice(RULES[name])
        else:
            text = rng.choice(match[2].split("|"))
        template = template[: match.start()] + text + template[match.end():]
    return template


def words() -> list[str]:
    """All words that the grammar can generate."""
    templates = [template for rule in RULES.values() for template in rule]
    templates += DIGITS + TEENS + TENS + ORDINALS + ["thirtieth", "hundred", "thousand", "and", "an", *NATO]
    found = {word for t in templates for word in re.split(r"[\s{}|]+", re.sub(r"<\w+>", " ", t)) if word}
    return sorted(found)


SALAD = [word for word in words() if word not in NOT_IN_SALAD]


def sentence(rng: random.Random, salad_share: float = SALAD_SHARE) -> str:
    """A random sentence with a capital letter and a final full stop or question mark."""
    if rng.random() < salad_share:
        text = " ".join(rng.choice(SALAD) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8])))
    else:
        text = " ".join(expand(f"<{rng.choices(list(TOPICS), TOPICS.values())[0]}>", rng).split())
        text = re.sub(r"\ba (?=(?!uni|use|euro)[aeiou])", "an ", text)
    return text[0].upper() + text[1:] + ("?" if text.split()[0] in QUESTIONS else ".")


def normalized(text: str) -> str:
    """Words in lower case, as compared for word error rates."""
    return " ".join(re.sub(r"[^a-z' ]+", "", text.lower()).split())


def draw_held_out(count: int, seed: int) -> list[str]:
    """Distinct sentences that are not in excluded.txt. Frequent sentences of the grammar ("Thank you.") are left to the
    training."""
    rng = random.Random(seed)
    taken = {normalized(line) for line in EXCLUDED_TEXTS.read_text().splitlines()}
    taken |= {normalized(sentence(rng, HELD_OUT_SALAD_SHARE)) for _ in range(5000)}
    drawn = []
    while len(drawn) < count:
        text = sentence(rng, HELD_OUT_SALAD_SHARE)
        if normalized(text) not in taken:
            taken.add(normalized(text))
            drawn.append(text)
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=20)
    parser.add_argument("--held-out", action="store_true", help="draws a new held-out.txt; models trained before it must not be evaluated with it")
    arguments = parser.parse_args()
    if arguments.held_out:
        HELD_OUT_TEXTS.write_text("\n".join(draw_held_out(160, seed=2)) + "\n")
        raise SystemExit
    print(f"{len(words())} words")
    generator = random.Random(1)
    for _ in range(arguments.count):
        print(sentence(generator))
