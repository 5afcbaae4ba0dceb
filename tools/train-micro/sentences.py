"""The sentences that micro is trained on: a grammar of 464 words, all spelled out.

    python sentences.py [COUNT]      prints some

`<name>` in a template is replaced by one of the alternatives of that rule, `{a|b|c}` by one of a, b and c (`{a|}`: a or nothing).
"""

import argparse
import random
import re

DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
            "sixteenth seventeenth eighteenth nineteenth twentieth").split()
QUESTIONS = {"what", "where", "is", "can", "do"}


def below_hundred(number: int) -> str:
    if number < 20:
        return (DIGITS + TEENS)[number]
    return TENS[number // 10 - 2] + (f" {DIGITS[number % 10]}" if number % 10 else "")


def spelled(number: int) -> str:
    """The number in British words: "two thousand and five", "three hundred and twelve"."""
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


# X-ray and november are left out: the one is spelled with a hyphen, the other is a month.
NATO = ("alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike oscar papa quebec romeo sierra tango uniform "
        "victor whiskey yankee zulu").split()
ADJECTIVES = ("big small old new long short happy sad warm cold quiet loud bright dark heavy light clean dirty empty full fast slow "
              "strong simple beautiful famous strange early").split()
COLOURS = "red green blue yellow white black orange purple brown pink".split()
THINGS = ("book letter picture table chair box bag key phone bottle basket hat coat shirt shoe ring clock map knife plate ball boat "
          "train car bicycle paper pencil window flower tree stone").split()
ANIMALS = "dog cat horse bird cow sheep rabbit mouse lion monkey".split()

# A rule is a list of templates, or a function of the random generator.
RULES = dict(
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
    weekday="Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    month="January February March April June July August September October November December".split(),
    adjective=ADJECTIVES, colour=COLOURS, thing=THINGS, animal=ANIMALS,
    room="kitchen|bedroom|bathroom|living room|office|garage|garden|hall|dining room|basement".split("|"),
    device="light lights lamp fan heater radio television oven door window alarm camera speaker curtain printer computer".split(),
    food=("bread milk butter cheese coffee tea sugar rice chicken fish soup apples eggs water juice salt pepper chocolate cake "
          "honey").split(),
    person=("my mother|my father|my brother|my sister|the teacher|the doctor|our neighbor|the children|the driver|the captain|"
            "my friend|the farmer|the old man|the young woman|a little girl|the boy").split("|"),
    place=("the station|the airport|the market|the school|the hospital|the river|the mountain|the beach|the village|the city|"
           "the park|the library|the bridge|the forest|the hotel|the island").split("|"),
    did_to=("took found lost bought sold opened closed carried painted dropped wanted moved cleaned followed watched remembered "
            "forgot brought broke washed").split(),
    went="walked ran drove traveled returned went hurried looked pointed moved".split(),
    when=("yesterday|this morning|last night|last week|every day|in the evening|after lunch|before dinner|today|two days ago|"
          "in the winter|in the summer").split("|"),
    soon=["today", "tomorrow", "on <weekday>"],
    later=["tomorrow", "tonight", "at <clock>", "on <weekday>"],
    music="jazz|classical music|rock music|the news|a podcast|my favorite song|the next track|quiet piano music".split("|"),
    clock=["<hour> o'clock", "half past <hour>", "quarter {to|past} <hour>", "{five|ten|twenty|twenty five} {to|past} <hour>",
           "<hour> <minute>", "<hour> {fifteen|thirty|forty five}{ in the morning| in the afternoon| tonight|}"],
    date=["<weekday> the <ordinal> of <month>", "<month> the <ordinal>", "the <ordinal> of <month>", "<weekday>"],
    a_thing=["{the|a|my|this|that} <thing>", "{the|a|my|this|that} <adjective> <thing>", "{the|a|my|this|that} <colour> <thing>"],
    arithmetic=["<number>", "<number>", "<number> {plus|minus|times} <number>", "the number is <number>",
                "it costs <number> {dollars|pounds|euros}", "<number> point <few_digits>"],
    time=["{it is|wake me up at|the train leaves at|the meeting starts at|set an alarm for|we will arrive at|the shop closes at|"
          "call me at|} <clock>"],
    calendar=["{today is|the party is on|my birthday is on|the meeting is on|remind me on|see you on|we will return on|} <date>"],
    code=["<few_letters> <code_digits>"],
    home=[
        "{please |}turn {on|off} the <room> <device>",
        "{please |}turn the <device> {on|off} in the <room>",
        "{please |}{open|close|lock|check} the {front|back|garage|kitchen|main} {door|window|gate}",
        "set the {temperature|brightness|volume} to <to99> {percent|degrees|}",
        "set a timer for <to60> {seconds|minutes|hours}",
        "make the <room> {lights|lamp} <colour>",
        "{please |}play <music>{ in the <room>|}",
        "{stop the music|pause the music|turn up the volume|turn down the volume|skip this song|good night|good morning|thank you|"
        "stop|start again|go back|help me please}",
        "add <food> and <food> to the shopping list",
        "is the <room> <device> {on|off}",
        "what is the weather <soon>",
        "it will be {sunny|rainy|cloudy|windy|snowy|foggy|dry|wet} and {warm|cold|dry|wet} {<soon>|tonight}",
        "remind me to {call|visit|help|ask|meet} <person> {today|<later>}",
        "send a message to <person>",
        "move {left|right|forward|back|up|down} <to50> {steps|meters|feet}",
        "what time is it{| now| in the city| in the village}",
    ],
    everyday=[
        "<person> <did_to> <a_thing> <when>",
        "<person> <went> to <place> {<when>|}",
        "<a_thing> is {on|under|behind|near|in} the {table|chair|box|car|bag|bed|door|tree}",
        "I would like some <food> and <food> {please|}",
        "where is <a_thing>",
        "can you {help|see|find|call|hear} {<person>|me}",
        "we {walked|drove|traveled} from <place> to <place>",
        "the <adjective> <animal> {sleeps|runs|jumps|waits|sits} {under|near|behind|in front of} {the house|the tree|<place>|<place>}",
        "<person> has <some> {books|letters|apples|eggs|horses|sheep|flowers|boats|friends}",
        "there are <some> people in <place>",
        "the {<thing>|<thing>|<animal>} is {very|too|not|} {<adjective>|<adjective>|<colour>}",
        "I think <person> {is|was} {very|not|} {happy|sad|tired|hungry|late|early|famous|strong|busy}",
        "do you want {to go to <place>|some <food>|to eat <food>|to read this book|to listen to <music>}",
        "we will {meet|wait|eat|sleep|work|play} {at|near} <place> <later>",
    ],
)
TOPICS = dict(digits=8, arithmetic=10, time=8, calendar=8, letters=7, code=4, home=22, everyday=26)
# Sentences of words in random order, so that the decoder cannot guess what it did not hear.
SALAD_SHARE = 0.30
# Alone, these sound like other words, or are written in another way.
NOT_IN_SALAD = {"to", "too", "for", "read", "I"}


def expand(template: str, rng: random.Random) -> str:
    """Replaces the innermost choice or rule until none is left."""
    while match := re.search(r"<(\w+)>|\{([^{}]*)\}", template):
        if match[1]:
            rule = RULES[match[1]]
            text = rule(rng) if callable(rule) else rng.choice(rule)
        else:
            text = rng.choice(match[2].split("|"))
        template = template[: match.start()] + text + template[match.end():]
    return template


def words() -> list[str]:
    """All words that the grammar can write."""
    templates = [t for rule in RULES.values() if not callable(rule) for t in rule]
    templates += DIGITS + TEENS + TENS + ORDINALS + ["thirtieth", "hundred", "thousand", "and", *NATO]
    found = {word for t in templates for word in re.split(r"[\s{}|]+", re.sub(r"<\w+>", " ", t)) if word}
    return sorted(found)


SALAD = [word for word in words() if word not in NOT_IN_SALAD]


def sentence(rng: random.Random) -> str:
    """A random sentence with a capital letter and a final full stop or question mark."""
    if rng.random() < SALAD_SHARE:
        text = " ".join(rng.choice(SALAD) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8])))
    else:
        text = " ".join(expand(f"<{rng.choices(list(TOPICS), TOPICS.values())[0]}>", rng).split())
    return text[0].upper() + text[1:] + ("?" if text.split()[0] in QUESTIONS else ".")


def normalized(text: str) -> str:
    """Lower-case words alone: what word error rates compare."""
    return " ".join(re.sub(r"[^a-z' ]+", "", text.lower()).split())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=20)
    arguments = parser.parse_args()
    print(f"{len(words())} words")
    generator = random.Random(1)
    for _ in range(arguments.count):
        print(sentence(generator))
