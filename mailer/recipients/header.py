"""The names of the columns, and which of them holds the email address."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# The usual names, without case, spaces, hyphens, dots and underscores.
_EMAIL_NAMES = frozenset(
    """
    email mail emailaddress mailaddress emailid
    emailadresse mailadresse adresseemail adressemail adressedemessagerie courriel
    adressecourriel adresseélectronique
    correo correoelectrónico correoelectronico indirizzoemail endereçodeemail
    epost epostadresse epostadress eposta adresemail
    почта электроннаяпочта элпочта адресэлектроннойпочты имейл емейл
    邮箱 邮件 电邮 电子邮件 电子邮箱 邮箱地址 邮件地址 电子邮件地址 电子邮箱地址
    郵箱 電郵 電子郵件 電子郵箱 電郵地址 電子郵件地址
    メール メールアドレス eメール eメールアドレス 電子メール
    이메일 이메일주소 메일 전자우편
    ईमेल بريد البريدالإلكتروني البريدالالكتروني
    """.split()  # noqa: SIM905 - a list of fifty quoted names reads worse
)


@dataclass(frozen=True, slots=True)
class Header:
    """Columns trimmed and case-folded. A column without a name is "" and is left out of rows."""

    columns: tuple[str, ...]
    width: int
    email_at: int
    has_unnamed: bool

    @classmethod
    def of(cls, names: Iterable[object]) -> "Header":
        """Raise ValueError in one line when a name comes twice or none of them is the email's."""
        columns = tuple(_fold(name) for name in names)
        for at, name in enumerate(columns):
            if name and name in columns[:at]:
                raise ValueError(f"the column {_shown(name)} is there twice")
        return cls(columns, len(columns), _email_at(columns), "" in columns)


def is_email_name(name: str) -> bool:
    """Whether a header name is one of the usual names of an email column."""
    return re.sub(r"[\s_.-]+", "", _fold(name)) in _EMAIL_NAMES


def _fold(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"a column's name is not text: {_shown(str(name))}")
    return name.strip("\ufeff \t\r\n\0\u3000\xa0").casefold()


def _email_at(columns: tuple[str, ...]) -> int:
    if "email" in columns:
        return columns.index("email")
    found = [at for at, name in enumerate(columns) if is_email_name(name)]
    if not found:
        raise ValueError(_no_email(columns))
    return found[0]


def _no_email(columns: tuple[str, ...]) -> str:
    names = ", ".join(_shown(name) for name in columns[:20])
    hint = "; is the header line missing?" if any("@" in name for name in columns) else ""
    return f"no email column among: {names or 'nothing'}{hint}"


def _shown(name: str) -> str:
    return ascii(name[:40]) if not name.isprintable() else f"“{name[:40]}”"
