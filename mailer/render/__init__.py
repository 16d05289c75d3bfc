"""A message turned into bytes, one recipient at a time."""

from mailer.render.checks import Finding, check
from mailer.render.compiled import Compiled, Mail, compile_message
from mailer.render.personal import PersonalFile

__all__ = ["Compiled", "Finding", "Mail", "PersonalFile", "check", "compile_message"]
