"""The model card: what a person must know before using a recogniser, in Markdown, from what its card records.

After Mitchell et al.: "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import json
from typing import Any

from vultus.recognizer.card import Card

PRECISION = {
    "float32": "float32",
    "float16": "float16 weights (GPUs and phones also compute so; a CPU computes in float32)",
    "bfloat16": "bfloat16 products, where the CPU has them",
    "int8": "int8 weights and activations, with a scale for each channel of a weight",
}


def model_card(card: Card) -> str:
    """Markdown, ending in a newline."""
    sections = [
        _head(card),
        _contract(card),
        _origin(card.provenance),
        _licences(card),
        _figures(card.provenance),
        _conversion(card.provenance),
        _thresholds(card),
        USE,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(card: Card) -> str:
    about = card.provenance.get("about") or "a network that turns an aligned picture of a face into an embedding"
    return (
        f"# {card.name}\n\nA face recogniser: {about}. Two faces are compared by the cosine of their embeddings. "
        "This card is also inside the model file; vultus wrote it from what the file records."
    )


def _contract(card: Card) -> str:
    contract = card.contract
    height, width = contract.crop_size
    mirror = "; the embeddings of the crop and of its mirror image are added" if contract.flip else ""
    return _section(
        "What goes in and what comes out",
        f"* in: an aligned crop, {height} x {width} pixels, {contract.color}, alignment `{contract.template}`, "
        f"normalised as (value - mean) / std with mean {_numbers(contract.mean)} and std {_numbers(contract.std)}",
        f"* out: {contract.dim} numbers, brought to unit length{mirror}",
        f"* precision: {PRECISION[contract.precision]}",
        f"* contract: `{contract.id}`. Only embeddings of one contract may be compared",
        f"* digest of the network: `{contract.weights}`",
    )


def _origin(facts: dict[str, Any]) -> str:
    lines = []
    if facts.get("dataset"):
        digest = f", digest `{facts['dataset_digest']}`" if facts.get("dataset_digest") else ""
        lines.append(
            f"* training data: {facts['dataset']}, {_count(facts.get('images'))} images of "
            f"{_count(facts.get('identities'))} identities{digest}"
        )
    elif facts.get("source"):
        lines.append("* training data: not recorded here; see the source")
    else:
        lines.append("* training data: not recorded")
    if facts.get("source"):
        lines.append(f"* source: {facts['source']}")
    if facts.get("sha256"):
        lines.append(f"* SHA-256 of the source's file: `{facts['sha256']}`")
    if isinstance(facts.get("contract"), str):
        lines.append(f"* how crops are prepared is stated by: {facts['contract']}")
    if facts.get("checkpoint"):
        lines.append(f"* checkpoint: {facts['checkpoint']}")
    if facts.get("vultus"):
        lines.append(
            f"* made with vultus {facts['vultus']}" + (f", commit {facts['commit']}" if facts["commit"] else "")
        )
    if facts.get("recipe"):
        recipe = json.dumps(facts["recipe"], indent=1, ensure_ascii=False, default=str)
        lines.append(f"* recipe:\n\n```json\n{recipe}\n```")
    return _section("Where it comes from", *lines)


def _licences(card: Card) -> str:
    lines = [f"Licence of this file: {card.licence}."]
    chain = card.provenance.get("ancestry") or []
    if chain:
        lines += ["", "Weights that went into it, oldest first; each one's terms apply:", ""]
        lines += ["| weights | licence | commercial use | source | SHA-256 |", "| --- | --- | --- | --- | --- |"]
        keys = ("name", "licence", "commercial_use", "source", "sha256")
        lines += ["| " + " | ".join(_cell(link.get(key)) for key in keys) + " |" for link in chain]
    else:
        lines += ["", "No other weights went into it, as far as is recorded."]
    lines += ["", "No licence of a file settles what data protection law says of the photographs it was trained on."]
    return _section("Licences", *lines)


def _figures(facts: dict[str, Any]) -> str:
    found = facts.get("measured")
    if not found:
        unknown = "Not measured when this file was written (`vultus export --check DATA/test`)."
        return _section("How well it recognises", unknown)
    before = {point["far"]: point for point in found.get("before") or []}
    lines = [
        f"1:1 verification on {found['data']}: {_count(found['mated'])} mated and {_count(found['non_mated'])} "
        f"non-mated pairs, run by {found['runtime']}. Intervals are 95 % and respect that "
        "pairs share people.",
        "",
        "| FAR | TAR | 95 % interval |" + (" TAR of the network converted from |" if before else ""),
        "| --- | --- | --- |" + (" --- |" if before else ""),
    ]
    for point in found["points"]:
        row = f"| {point['far']:g} | {_percent(point['tar'])} | {_interval(point['interval'])} |"
        other = before.get(point["far"])
        lines.append(row + (f" {_percent(other['tar'])} ({_interval(other['interval'])}) |" if other else ""))
    lines += [f"\n{note}" for note in found.get("notes") or []]
    return _section("How well it recognises", *lines)


def _conversion(facts: dict[str, Any]) -> str:
    done = facts.get("conversion")
    if not done:
        return ""
    lines = [f"* from contract `{done['from_contract']}` to {done['precision']}" + _by(done.get("tool"))]
    if crops := done.get("calibration_crops"):
        lines.append(f"* value ranges from {crops['count']} crops of {crops['data']}, digest `{crops['digest']}`")
    if (check := done.get("check")) is not None:
        lines.append(
            f"* accepted because TAR at FAR {check['far']:g} fell by {check['loss']:.2f} points "
            f"({_percent(check['before'])} to {_percent(check['after'])}), at most {check['max_loss']:g} allowed"
        )
    return _section("How it was converted", *lines)


def _thresholds(card: Card) -> str:
    if card.calibration is None:
        text = (
            "None in this file: nobody can be identified with it until it is calibrated (`vultus export --calibrate`)."
        )
        return _section("Thresholds", text)
    about, counts, *rows = card.calibration.describe()
    return _section("Thresholds", f"{about}; {counts}.", "", "```text", *rows, "```")


USE = """## Intended use

* Comparing and finding people who agreed to it, by applications that show or use a score with its error rate.
* Research on face recognition, and measuring it.

## Not to be used

* **To decide alone about a person's rights, freedom or livelihood.** A match is a hint with an error rate.
* **To recognise people who did not agree, or to watch public places.** Faces are biometric data; in many countries
  (GDPR Art. 9, BIPA, the EU AI Act) processing them needs consent or a law, and some uses are forbidden.
* **To infer** emotion, character, health, origin or orientation.
* **As the only lock.** The network does not know a face from a photograph of one.

## Limits

* Error rates differ between groups of people, ages and cameras, and the figures above are averages over their data.
  Measure on the people that will be served, and calibrate on them.
* Thresholds hold for photographs like those that they were calibrated on.
* Very small, blurred, turned, covered or badly lit faces, twins, close relatives and children give more errors."""


def _section(title: str, *lines: str) -> str:
    return "\n".join([f"## {title}", "", *lines])


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{v:g}" for v in values) + ")"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number of"


def _cell(value: Any) -> str:
    return str(value if value is not None else "not known").replace("|", "\\|").replace("\n", " ")


def _percent(value: float | None) -> str:
    return "too few pairs" if value is None else f"{100 * value:.2f} %"


def _interval(value: list[float] | None) -> str:
    return "-" if value is None else f"{100 * value[0]:.2f} to {100 * value[1]:.2f} %"


def _by(tool: str | None) -> str:
    return f", by {tool}" if tool else ""
