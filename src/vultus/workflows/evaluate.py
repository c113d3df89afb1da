"""Measure a recogniser: every pair of a dataset's images, a published list of pairs, or an InsightFace set."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.data import FaceDataset
from vultus.data.failures import lost_comparisons
from vultus.errors import VultusError
from vultus.evaluation import FARS, Verification, verify
from vultus.evaluation.auc import auc_interval
from vultus.evaluation.calibration import People, calibrate_scores
from vultus.evaluation.profiles import Judgement, Profile, judge, load_profile
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.files import refuse_same, save_atomically
from vultus.workflows.against import compare_with
from vultus.workflows.baselines import beside
from vultus.workflows.embedder import Embedder, of_recognizer, open_embedder
from vultus.workflows.evidence import Evidence, gather, read_groups
from vultus.workflows.notes import notes_on_people, notes_on_photographs
from vultus.workflows.pairs import evaluate_pairs, evaluate_set
from vultus.workflows.results import Evaluation, PairsEvaluation, write_figures
from vultus.workflows.templates import TemplatesEvaluation, evaluate_templates

if TYPE_CHECKING:
    from vultus.recognizer import Recognizer

RESAMPLES = 1000
"""Resamples of the identities for the bootstrap intervals (Fogliato et al. 2023 use as many)."""

KEPT = 2**22
"""Non-mated scores kept one by one (48 MiB): FAR 0.1 of 9,000 images, and all lower rates."""


def evaluate(
    model: str | Path | Recognizer | Embedder,
    dataset: str | Path,
    *,
    pairs: str | Path | None = None,
    out: str | Path | None = None,
    max_per_identity: int | None = None,
    calibration: str | Path | None = None,
    source: str | None = None,
    models_dir: str | None = None,
    against: str | Path | Embedder | None = None,
    profile: str | Path | None = None,
    groups: str | None = None,
    quality: str | Path | None = None,
    templates: str | Path | None = None,
    pooling: str | None = None,
    show_unsupported: bool = False,
    baselines: bool = True,
    command: str = "",
) -> Evaluation | PairsEvaluation | TemplatesEvaluation:
    """Measure `model` (run directory, name, .onnx file, or an open recogniser) on `dataset`.

    Args:
        dataset: DATA, DATA/SPLIT, or an InsightFace `.bin` set (then accuracy over its folds).
        pairs: an LFW pairs file or CSV; then accuracy over its folds instead of all pairs.
        out: a folder for report.html and figures.json: all evidence, identification, conditions and groups included.
        calibration: a JSON file to write with the thresholds by error rate that these scores give.
        source: the data in words, kept in the calibration; by default its name and counts.
        against: an earlier recogniser: also measure probes by `model` against a gallery enrolled with it.
        max_per_identity: only the first images of each identity, so that a few people do not decide the figures.
        profile: a name of `vultus profiles` or a TOML file: whether the recogniser is good enough for that use.
        quality: with `pairs`: a number for each image (XQLFW's scores, or a CSV); figures by the worse of a pair too.
        templates: a folder of a template protocol in the layout of IJB-B and IJB-C, over images of `dataset`.
        pooling: with `templates`: how a template is made of its images, as N1D1F0 (`protocols.pooling`).
        groups: a column of the dataset, or a CSV of identity,group: error rates by group, in the report.
        show_unsupported: print rates that the data cannot support too, marked so: to be compared with papers.
        baselines: measure whitened PCA and the shipped recogniser beside it (`workflows.baselines.beside`).
        command: how this was asked for, kept with the figures.

    Raises:
        VultusError: a model or dataset that cannot be opened, one identity only, no identity with two images, people
            whom the recogniser's thresholds were chosen on.
    """
    refuse_same(calibration, model, against, profile, groups)
    embedder = model if isinstance(model, Embedder) else _embedder(model, models_dir)
    options = {"--calibration": calibration, "--max-per-identity": max_per_identity, "--source": source}
    options |= {"--against": against, "--profile": profile, "--groups": groups}
    _make_folder(out)
    lists = {"--pairs": pairs, "--templates": templates}
    if Path(dataset).suffix == ".bin":
        _refuse({**options, **lists, "--quality": quality, "--pooling": pooling}, "with a .bin set")
        return _kept(evaluate_set(embedder, dataset, unsupported=show_unsupported), out, command)
    if pairs is not None:
        _refuse({**options, "--templates": templates, "--pooling": pooling}, "with --pairs")
        data = FaceDataset.open(dataset)
        notes = notes_on_people(embedder, data)
        given = {"quality": quality, "notes": notes, "unsupported": show_unsupported}
        result = evaluate_pairs(embedder, data, Path(pairs), **given)
        others = beside(embedder, data, models_dir) if baselines else []
        found = {other.name: evaluate_pairs(other, data, Path(pairs), unsupported=show_unsupported) for other in others}
        return _kept(dataclasses.replace(result, baselines=found), out, command)
    if templates is not None:
        _refuse({**options, "--quality": quality}, "with --templates")
        data = FaceDataset.open(dataset)
        given = {"raw": embedder.raw, "flips": embedder.flips, "notes": notes_on_people(embedder, data)}
        given["unsupported"] = show_unsupported
        return _kept(evaluate_templates(embedder, data, templates, pooling=pooling, **given), out, command)
    _refuse({"--quality": quality}, "without --pairs")
    _refuse({"--pooling": pooling}, "without --templates")
    if source is not None and calibration is None:
        raise VultusError("--source has no effect without --calibration; leave it out")
    if groups is not None and out is None:
        raise VultusError("--groups has no effect without --out: the groups are a part of the report")
    wanted = None if profile is None else load_profile(profile)
    data = FaceDataset.open(dataset)
    own = embedder.calibration if calibration is None else None  # a new one is measured on whomever it likes
    if own is not None and own.people is not None:
        own.people.refuse(data.identities, data.people)
    _make_folder(Path(calibration).parent if calibration else None)
    if calibration is not None and embedder.contract_id is None:
        raise VultusError(f"{embedder.name} is a training run without a contract; export it first, with --calibrate")
    earlier = against if against is None or isinstance(against, Embedder) else _embedder(against, models_dir)
    if max_per_identity is not None:
        if max_per_identity < 2:
            raise VultusError(f"--max-per-identity {max_per_identity}: at least 2 are needed for a mated pair")
        data = data.at_most(max_per_identity)
    grouped = None if groups is None else read_groups(data, groups)
    fars = sorted({*FARS, *(wanted.fars if wanted else ())}, reverse=True)
    embeddings = embedder.dataset(data)
    scores = all_pairs(embeddings, data.labels, mated_failures=lost_comparisons(data), tail=KEPT)
    sizes = {"images": len(data), "identities": len(data.identities)}
    verification = verify(scores, fars, **sizes, bootstrap=RESAMPLES, unsupported=show_unsupported)
    if calibration is not None:
        _write_calibration(Path(calibration), embedder, data, scores, source, max_per_identity)
    others = {}
    for other in beside(embedder, data, models_dir) if baselines else []:
        compared = all_pairs(other.dataset(data), data.labels, mated_failures=lost_comparisons(data), tail=KEPT)
        others[other.name] = verify(compared, fars, **sizes, unsupported=show_unsupported)
    evidence = None
    if out is not None or (wanted is not None and wanted.searches):
        searches = wanted.searches if wanted else ()
        evidence = gather(scores, verification, embeddings, data, own, groups=grouped, searches=searches)
    result = Evaluation(
        embedder.name,
        data.title,
        data.digest,
        max_per_identity,
        verification,
        notes=(*notes_on_people(embedder, data), *notes_on_photographs(data)),
        against=None
        if earlier is None
        else compare_with(earlier, data, embeddings, scores, fars, kept=KEPT, resamples=RESAMPLES),
        judgement=None if wanted is None else _judge(wanted, scores, verification, evidence),
        evidence=evidence,
        contract_id=embedder.contract_id,
        command=command,
        baselines=others,
    )
    if out is None:
        return result
    from vultus.workflows.evaluation_report import write_evaluation_report

    folder = Path(out)
    path = write_evaluation_report(folder, result, data, embedder)
    write_figures(folder, result.to_dict())
    return dataclasses.replace(result, report=path)


def _refuse(options: dict[str, Any], where: str) -> None:
    if idle := [name for name, value in options.items() if value is not None]:
        raise VultusError(f"{idle[0]} has no effect {where}; leave one of them out")


def _kept(result: PairsEvaluation | TemplatesEvaluation, out: str | Path | None, command: str) -> Any:
    """The result, written to `out` as a report and JSON if that is wanted."""
    if out is not None:
        from vultus.workflows.lists_report import write_list_report

        write_list_report(Path(out), result, command)
    return result


def _judge(profile: Profile, scores: PairScores, verification: Verification, evidence: Evidence | None) -> Judgement:
    searches = evidence.identification.points if evidence and evidence.identification else ()
    area = auc_interval(scores) if any(r.measure == "auc" for r in profile.requirements) else None
    return judge(profile, verification, searches, auc_interval=area)


def _write_calibration(
    path: Path, embedder: Embedder, data: FaceDataset, scores: PairScores, source: str | None, capped: int | None
) -> None:
    assert embedder.contract_id is not None
    found = calibrate_scores(
        scores,
        source=source or describe(data),
        contract_id=embedder.contract_id,
        split=data.name or "all",
        data_digest=data.digest,
        images=len(data),
        max_per_identity=capped,
        people=People.of(data.identities, data.people),
        crops=data.origin,
    )
    save_atomically((found.to_json() + "\n").encode(), path)


def _make_folder(path: str | Path | None) -> None:
    """Before the long work, not after it."""
    try:
        if path is not None:
            Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VultusError(f"cannot write into {path}: {error.strerror}; choose another folder") from None


def describe(data: FaceDataset) -> str:
    """A dataset view in words, for the provenance of thresholds."""
    return f"{data.title}, {len(data):,} images of {len(data.identities):,} identities"


def _embedder(model: Any, models_dir: str | None) -> Embedder:
    return open_embedder(model, models_dir) if isinstance(model, str | Path) else of_recognizer(model)
