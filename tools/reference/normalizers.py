"""Stores what openai/whisper's normalizers make of some phrases: test/fixtures/normalized.json.

    python normalizers.py CHECKOUT      (a checkout of github.com/openai/whisper)
"""

import json
import sys
import types
from pathlib import Path

PHRASES = """It's 5 o'clock, isn't it? She'd been there; he's gone (laughs) [music] <unk> now.
twenty one pilots and thirty-five cats cost two hundred and five dollars and seven cents
nineteen eighty four was one oh one double seven triple three zero
the twenty first of May, the second, the hundredth, the sixties, the 1960s, 274th and 32nd
minus five point two degrees, plus seven, negative ten percent, ninety per cent of it
one million two hundred thousand three hundred and forty five people and a half
two and a half million, three and a half, four and a half hours, a cup and a half
$20 million, £5 and 6, €3.50 and ¢7, $0.75, five dollars fifty, twenty pounds, a pound
Mr. Smith and Mrs. Jones met Dr. No, Prof. X, Capt. Kirk, Gov. Lee, St. John, Gen. Lee Jr. Esq.
won't can't let's ain't y'all wanna gotta gonna I'ma imma woulda coulda shoulda ma'am
I'm, you're, he's, they'd, we'll, don't, I've, he's been, she's got, they'd done
colour honour centre realise travelling grey aluminium defence programme tyre
Hmm, uh, um, mm, mhm. café naïve Straße œuvre smørrebrød Þór Łódź æon fiancée
192.168.0.1 and 3.14 and 1,000,000 and 12:30 and 50% and 7 a.m. and B2B and 4x4 and 10th
one two three four five six seven eight nine ten eleven twelve
one hundred thousand, one thousand and one, ten thousand hundred, fifteen hundred, nine nine nine
point five, zero point zero five, oh point one, five point, point of view, two point oh
double trouble, triple jump, double oh seven, one and two, and then, both and neither
ones and twos and sixes, zeroth, third, fifth, eighth, ninth, twelfth, twentieth, thirtieth, fortieths
three billion, a trillion, seven decillion, hundreds of thousands, two millionth, millions
plus or minus, the positive side, negative feedback, minus, plus 5, minus twenty three
20 thousand, 1.5 million, 2.35 thousand, 1.23456 thousand, 0 hundred, zero thousand
twenty twenty, nineteen oh five, seventy seventy one, twenty ten, thirteen fourteen, fifty fifteen
five per hour, per diem, percent, cent per cent, per cent, 5 per cent
€5 and ¢20, $3 ¢5, $0.5, £0.99, one dollar, one cent, 1s and 1st and 11
'tis the season, rock 'n' roll,  'quoted'  , it 's, -- dashes - - and... dots ... 5. 6.7.
ÀÉÎÕÜ ﬁne Ⅳ ½ ² ™ © 東京 привет مرحبا हिन्दी ไทย
[unfinished bracket (and paren <tag> end
two hundred fifty three thousand four hundred and ninety two point six eight
a hundred, one hundred and, hundred and five, thousand five, million and a half
Stéphane met Drápal, Colón, Mrázek, Señor Sénat and Revée, the émm and hmmé, l'été n'a qu'où d'où it'sé, 5 thé, 5ºs, 1é
point thirty thousand, five point thousand, point five hundred and ten
""".strip("\n").split("\n")


def windowed(items, count):
    return zip(*(items[i:] for i in range(count)))


def main():
    sys.modules["more_itertools"] = types.SimpleNamespace(windowed=windowed)
    sys.path.insert(0, str(Path(sys.argv[1]) / "whisper"))
    from normalizers import BasicTextNormalizer, EnglishTextNormalizer

    english, basic = EnglishTextNormalizer(), BasicTextNormalizer()
    parts = [part for phrase in PHRASES for part in [phrase, *phrase.split(",")]]
    results = [dict(text=text, english=english(text), basic=basic(text)) for text in dict.fromkeys(parts)]
    target = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "normalized.json"
    target.write_text(json.dumps(results, ensure_ascii=False, indent=0) + "\n")
    print(len(results))


if __name__ == "__main__":
    main()
