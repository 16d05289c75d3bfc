"""Write examples/recipients.csv: 1,000 invented people, the same ones at every run.

Among them are one duplicate, one invalid address, one comma inside quotes and one domain outside
ASCII, so 998 can be written to.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random

Row = list[str]

COLUMNS = ["email", "name", "city", "language", "amount"]
DOMAINS = ["example.com", "example.net", "example.org"]

# language: surname first?, given names, surnames, cities; "romanised=as written"
PEOPLE = {
    "en": (
        False,
        "Ann Oliver Grace Henry Ruby Arthur Ivy Leo",
        "Walker Bennett Hughes Carter Doyle Fraser",
        "London Dublin Toronto Sydney",
    ),
    "de": (
        False,
        "Jorg=Jörg Anneliese Kathe=Käthe Lukas Bjorn=Björn Ursula",
        "Muller=Müller Gross=Groß Schafer=Schäfer Vogel Konig=König",
        "Köln Zürich Wien Düsseldorf",
    ),
    "fr": (
        False,
        "Helene=Hélène Francois=François Zoe=Zoë Remi=Rémi Manon Noel=Noël",
        "Lefevre=Lefèvre Moreau Girard Beaupre=Beaupré Chene=Chêne",
        "Orléans Genève Montréal Liège",
    ),
    "es": (
        False,
        "Jose=José Lucia=Lucía Inigo=Íñigo Carmen Ramon=Ramón",
        "Nunez=Núñez Garcia=García Ibanez=Ibáñez Ortega Pena=Peña",
        "Málaga Bogotá Córdoba Lima",
    ),
    "zh": (
        True,
        "wei=伟 fang=芳 xiuying=秀英 min=敏 jing=静 lei=磊 ting=婷",
        "wang=王 li=李 zhang=张 liu=刘 chen=陈 zhao=赵",
        "北京 上海 广州 成都",
    ),
    "ja": (
        True,
        "sakura=さくら haruto=陽翔 yui=結衣 ren=蓮 kenta=ケンタ",
        "sato=佐藤 suzuki=鈴木 takahashi=高橋 tanaka=田中",
        "東京 大阪 札幌 京都",
    ),
    "ko": (
        True,
        "minjun=민준 seoyeon=서연 jiho=지호 haeun=하은",
        "kim=김 lee=이 park=박 choi=최",
        "서울 부산 대구 인천",
    ),
    "ru": (
        False,
        "anna=Анна dmitri=Дмитрий olga=Ольга pyotr=Пётр vera=Вера",
        "ivanova=Иваненко smirnov=Соловей kuznets=Кузнец zaitsev=Заяц",
        "Москва Казань Томск Сочи",
    ),
    "ar": (
        False,
        "layla=ليلى omar=عمر fatima=فاطمة yusuf=يوسف",
        "haddad=حداد najjar=نجار khoury=خوري mansour=منصور",
        "القاهرة الرباط عمان بيروت",
    ),
    "hi": (
        False,
        "aarav=आरव priya=प्रिया rohan=रोहन ananya=अनन्या",
        "sharma=शर्मा verma=वर्मा gupta=गुप्ता nair=नायर",
        "दिल्ली मुंबई पुणे जयपुर",
    ),
}


def main() -> None:
    target = Path(__file__).with_name("recipients.csv")
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(Random(2026)))  # noqa: S311 - names in a sample


def rows(chance: Random) -> Iterator[Row]:
    people = [person(chance, number) for number in range(1, 999)]
    people[41][1] = "Zoë 🎈 Martin"
    people[136][2] = "Washington, D.C."
    people[404][0] = "jorg405@bücher.example"
    duplicate = [people[99][0].title(), *people[99][1:]]
    invalid = ["no-at-sign.example.com", *people[700][1:]]
    yield from people[:600]
    yield duplicate
    yield from people[600:800]
    yield invalid
    yield from people[800:]


def person(chance: Random, number: int) -> Row:
    language = chance.choice(list(PEOPLE))
    surname_first, given_names, surnames, cities = PEOPLE[language]
    given_latin, given = chosen(chance, given_names)
    surname_latin, surname = chosen(chance, surnames)
    email = f"{given_latin}.{surname_latin}{number}".lower() + "@" + chance.choice(DOMAINS)
    name = surname + given if surname_first else f"{given} {surname}"
    amount = f"{chance.randint(500, 250_000) / 100:.2f}"
    return [email, name, chance.choice(cities.split()), language, amount]


def chosen(chance: Random, names: str) -> tuple[str, str]:
    """Pick a name; return it romanised and as it is written."""
    latin, _, written = chance.choice(names.split()).partition("=")
    return latin, written or latin


if __name__ == "__main__":
    main()
