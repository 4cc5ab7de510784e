"""The sentences of a report: what is guaranteed, what is not shown, what still depends.

They are written for the person who signs, in plain words.
"""

from collections.abc import Mapping

from unlearn.requests.measuring import ENOUGH
from unlearn.requests.strategies import ANEW, early

APPROXIMATE = (
    "The method is approximate: it gives no guarantee. What was measured is below; it "
    "does not prove that nothing of the examples is left in the weights."
)
NOTHING_TRAINED = (
    "Nothing was trained on these examples, so the weights stay as they are. The "
    "examples are no longer used to measure or to choose."
)


def work(
    method: str, trained: bool, entry: Mapping, left: int, settings: Mapping
) -> str:
    """Says what was done, in a sentence or two.

    Args:
      method: the deployment's.
      trained: whether a training example was erased.
      entry: the ledger's.
      left: training examples that stay.
      settings: of the deployment.
    """
    told = entry["retrained"]
    if not trained:
        return "No training example was erased: nothing was trained again."
    if method == "sisa":
        constants = settings["methods"]["sisa"]
        total = constants["shards"] * constants["slices"]
        return (
            f"{told['shards']} of {constants['shards']} shards were trained again, "
            "each from the first slice that held an erased example on: "
            f"{told['slices']} of {total} slices, {told['retrained_examples']:,} "
            "examples times epochs, where one model trained anew takes "
            f"{told['full_examples']:,}."
        )
    if method in ANEW:
        recipe = settings["train"] | settings["methods"].get(method, {})
        return (
            f"A model was trained from the start on the {left:,} training examples "
            f"that stay, for {recipe['epochs']} epochs."
        )
    if method == "certified":
        return (
            "The heads were solved anew, with the noise that they have: the budget was "
            "used up."
            if told.get("retrained")
            else "One Newton step was taken on each head, for all erased examples."
        )
    if method == "amnesiac":
        return (
            f"The updates of {told['subtracted']} training batches that held an erased "
            "example were subtracted, and the model was trained a little on the rest."
        )
    if rewinding := early(method):
        epochs = {settings["methods"][part]["epoch"] for part in rewinding}
        return (
            f"The method {method} went back to the weights after epoch "
            f"{' and '.join(map(str, sorted(epochs)))} of the first training, which "
            f"had seen the erased examples, and trained them on the {left:,} training "
            "examples that stay."
        )
    run = f"The method {method} was run on the weights of version "
    run += f"{entry['version_before']}."
    if entry["weights"]["before"] == entry["weights"]["after"]:
        run += " It changed nothing: the weights are those of before."
    return run


def guarantee(
    method: str,
    kind: str,
    info: Mapping,
    certificate: tuple[float, float] | None = None,
    changed: str = "",
    features: str = "",
) -> str:
    """Says in plain words what is guaranteed of an answer.

    Args:
      method: the deployment's.
      kind: exact, certified or none.
      info: what the method told.
      certificate: the epsilon and delta that it certifies, if it does.
      changed: how the program differs from that of the deployment.
      features: what the features of `certified` were trained on, if they were.
    """
    if method == "sisa" and changed:
        return (
            "Exact: no weights in use were ever trained on the erased examples, nor "
            "made from weights that were. Since the deployment the program or machine "
            f"has changed ({changed}): a training from the start need not give the "
            "same bits."
        )
    if method == "sisa":
        return (
            "Exact: the weights are, bit for bit, what this program makes by training "
            "without the erased examples (same versions, same device)."
        )
    if kind == "exact":
        return (
            "Exact: the model was trained anew, from fresh random weights, without the "
            "erased examples."
        )
    if kind == "certified" and method != "certified":
        assert certificate
        return (
            f"{_certified(certificate)} weights that the same noisy steps make of any "
            "others, such as some that were never trained on the erased examples. "
            "Whoever saw a version before is not covered."
        )
    if kind == "certified":
        assert certificate
        how = (
            "the budget was used up, and is whole again: the heads were solved anew"
            if info.get("retrained")
            else f"{info.get('spent', 0):.1%} of the budget is spent"
        )
        about = (
            f" The net that makes the features was not changed: it is said to be "
            f"trained on {features}, and what it remembers is not covered."
            if features
            else ""
        )
        return (
            f"{_certified(certificate)} weights fitted without the erased examples; "
            f"{how}. Whoever saw the version before is not covered.{about}"
        )
    return APPROXIMATE


def _certified(certificate: tuple[float, float]) -> str:
    epsilon, delta = certificate
    return (
        f"Certified: (ε = {epsilon:g}, δ = {delta:g}) removal. Nobody who sees only "
        "the new weights can tell them, beyond ε and δ, from"
    )


def not_shown(measured: Mapping, kind: str) -> list[str]:
    """Says what the measurements of a request cannot show."""
    count, sentences = measured["accuracy"]["forget"]["examples"], []
    if not count:
        sentences.append(
            "The erased examples were not measured: the model was not trained on them, "
            "or their files were gone or others when the request was answered."
        )
    elif count < ENOUGH:
        examples = "one example" if count == 1 else f"{count} examples"
        sentences.append(
            f"With {examples} no attack can be tested: a loss that looks like that of "
            "an unseen example is no evidence that it was forgotten, and one that does "
            "not is no evidence that it is remembered."
        )
    else:
        sentences.append(
            "The attack judges the erased examples together. Stronger attacks on "
            "single examples need models trained with and without each (an audit)."
        )
    if kind == "exact" and count:
        sentences.append(
            "A model that never saw an example may well be right about it: after an "
            "exact answer, that is what the numbers show."
        )
    if kind == "certified":
        sentences.append(
            "The certificate is for requests that nobody chose by looking at earlier "
            "weights."
        )
    if kind == "none":
        sentences.append(
            "Whether this method forgets at all is the question of an audit over many "
            "models, not of one request."
        )
    sentences.append(
        "Copies that are not exact (cropped, compressed, taken a second later) are not "
        "found: name them, or give them a group."
    )
    return sentences


def still_depends(
    kind: str, trained: bool, data: str, imported: str = "", rewinds: bool = False
) -> list[str]:
    """Lists what still depends on the erased examples after an answer.

    Args:
      kind: exact, certified or none.
      trained: whether a training example was erased.
      data: the name of the data set.
      imported: the file of the weights that were imported, if they were.
      rewinds: whether the method goes back to weights from early in the training.
    """
    found = [f"The data themselves: {data}, and its backups. Delete the files there."]
    if not trained:
        found.append("Decoded images that were kept for speed: purge deletes them.")
        found.append("This report and the ledger, which name the ids.")
        return found
    found.append(
        "States and weights of earlier versions, and decoded images that were kept for "
        "speed: purge deletes them."
    )
    if imported:
        found.append(f"The weights that were imported: {imported}. Delete that file.")
    if rewinds:
        found.append(
            "The weights from early in the training, which have seen the examples and "
            "from which the next request starts. purge leaves them: a new deployment "
            "alone is rid of them."
        )
    if kind == "none":
        found.append("The new weights, as far as the method has not forgotten.")
    if kind == "certified":
        found.append("The new weights, within ε and δ.")
    found.append(
        "Weights that were exported or copied before, and whoever has them: replace "
        "them by an export of this version."
    )
    found.append("This report and the ledger, which name the ids and their losses.")
    return found
