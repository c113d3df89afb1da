"""Applications and what they ask: PASS, FAIL or NOT ENOUGH EVIDENCE."""

from vultus.evaluation.profiles.judge import Answer, Judged, Judgement, Search, judge
from vultus.evaluation.profiles.profiles import Profile, Requirement, list_profiles, load_profile, parse_profile

__all__ = [
    "Answer",
    "Judged",
    "Judgement",
    "Profile",
    "Requirement",
    "Search",
    "judge",
    "list_profiles",
    "load_profile",
    "parse_profile",
]
