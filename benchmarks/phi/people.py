"""Made people: names in several scripts, ids, addresses, telephone numbers, days. Nobody of them exists.

Belongs here: drawing them from a seed, each value once, so that a leak leads to the place where it was planted. Does
not belong here: where they are put.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

_LATIN = (
    "bra qui vel dro zan kre mul fos wen tir gax lop sny hud jev pel vro sti nuk yam",
    "lde ng rk sse x tt zel mp",
)
_ACCENTED = (
    "brä qué vël drö zañ krü mül fòs wên tîr gåx lóp snÿ hûd jév pèl vrø stí nùk ýam",
    "lde ng rk ße x ñez çel mp",
)
_CYRILLIC = ("бра кви вель дро зан кре мул фос вен тир гак лоп снэ худ жев пел вро сти нук ям", "лов нов ский цев рич")  # noqa: RUF001
_GREEK = ("βρα κυι βελ δρο ζαν κρε μουλ φος βεν τιρ γαξ λοπ", "πουλος ιδης ακης τζης")
_JAPANESE = "山田鈴木佐藤高橋渡辺伊東中村小林加松井上原清水森池石川前岡長谷"
_CHINESE = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧"
_KOREAN = "김이박최정강조윤장임한오서신권황안송류홍전고문손양배백허남심"

SCRIPTS: dict[str, str | list[str]] = {
    "latin": "",
    "accented": "ISO_IR 100",
    "accented utf-8": "ISO_IR 192",
    "cyrillic": "ISO_IR 144",
    "greek": "ISO_IR 126",
    "japanese": ["", "ISO 2022 IR 87"],
    "korean": ["", "ISO 2022 IR 149"],
    "chinese": "GB18030",
}
"""Scripts of names, and the Specific Character Set that holds each; "" is the default repertoire."""

_FIRST_BIRTHDAY, _BIRTHDAYS = date(1931, 1, 1), 20_000
"""Personal days lie before any shifted day of a study, so that finding one is a leak and no coincidence."""


@dataclass(frozen=True)
class Person:
    """A made person's name, in DICOM's form and in its parts."""

    family: str
    given: str

    @property
    def pn(self) -> str:
        """Family^Given."""
        return f"{self.family}^{self.given}"

    @property
    def parts(self) -> tuple[str, ...]:
        """What may not be found of the name."""
        return (self.family, self.given)

    def spellings(self) -> tuple[str, ...]:
        """The name as people write it into free text: orders, initials, capitals, without accents."""
        return (
            f"{self.given} {self.family}",
            f"{self.family.upper()}, {self.given}",
            f"{self.given[0]}. {self.family}",
            f"{self.family.lower()} {self.given.lower()}",
            f"{self.family}^{self.given}",
            f"{plain(self.given)} {plain(self.family)}",
            f"{self.family}_{self.given}",
        )


def plain(text: str) -> str:
    """Without accents, as typists without the right keyboard write it."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


class People:
    """Draws made values from a seed; no name, id, address or number comes twice."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._drawn: set[str] = set()
        self._uids = 0

    def person(self, script: str = "latin") -> Person:
        """A person whose name is in one of `SCRIPTS`."""
        return Person(self.name(script), self.name(script))

    def name(self, script: str = "latin") -> str:
        """One name of at least eight letters, or four characters of East Asia."""
        return self._once(lambda: self._name(script))

    def _name(self, script: str) -> str:
        draw = self.random
        for sign, characters in (("japanese", _JAPANESE), ("chinese", _CHINESE), ("korean", _KOREAN)):
            if script == sign:
                return "".join(draw.choice(characters) for _ in range(4))
        starts, ends = {
            "accented": _ACCENTED,
            "accented utf-8": _ACCENTED,
            "cyrillic": _CYRILLIC,
            "greek": _GREEK,
        }.get(script, _LATIN)
        syllables = [draw.choice(starts.split()) for _ in range(3)]
        return ("".join(syllables) + draw.choice(ends.split())).capitalize()

    def number(self, prefix: str = "") -> str:
        """An id of nine digits behind an optional prefix."""
        return self._once(lambda: f"{prefix}{self.random.randrange(1, 10)}{self.random.randrange(10**8):08d}")

    def code(self) -> str:
        """An id of letters and digits."""
        return self._once(lambda: f"ZQ{self.random.randrange(10**4):04d}-{self.random.randrange(10**5):05d}X")

    def phone(self) -> str:
        """A telephone number of a country code that is not in use."""
        return self._once(lambda: f"+999 6 {self.random.randrange(10**4):04d} {self.random.randrange(10**4):04d}")

    def street(self) -> str:
        """A street that does not exist, with a number."""
        return f"{self.name()}straat {self.random.randrange(1, 300)}"

    def title(self) -> str:
        """An application entity or station of at most 16 characters."""
        return f"{self.name().upper()[:10]}{self.random.randrange(100):02d}"

    def birthday(self) -> date:
        """A personal day; see `_FIRST_BIRTHDAY`."""
        drawn = self._once(lambda: (_FIRST_BIRTHDAY + timedelta(self.random.randrange(_BIRTHDAYS))).isoformat())
        return date.fromisoformat(drawn)

    def uid(self) -> str:
        """A UID below 2.999, the arc that ITU-T X.660 keeps for examples."""
        self._uids += 1
        return f"2.999.{self._uids}.{self.random.randrange(10**24)}"

    def _once(self, draw: Callable[[], str]) -> str:
        while True:
            value = draw()
            if value not in self._drawn:
                self._drawn.add(value)
                return value


def days_written(day: date) -> tuple[str, ...]:
    """A day in the forms in which people write it."""
    return (
        day.strftime("%Y%m%d"),
        day.strftime("%d.%m.%Y"),
        day.strftime("%Y-%m-%d"),
        day.strftime("%d/%m/%Y"),
        day.strftime("%b %d %Y"),
    )
