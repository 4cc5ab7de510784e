"""Released loops with a teacher: SCRUB, DELETE, bad teaching.

meghdadk/SCRUB: large_scale_unlearning.ipynb, thirdparty/repdistiller/helper/loops.py,
distiller_zoo/KD.py. shaaaaron/DELETE: method/delete.py.
vikram2000b/bad-teaching-unlearning: unlearn.py. Re-expressed; loaders are lists of
(x, labels), an entry a batch.
"""

import numpy as np
from released.torch_like import SGD, Adam, Net, cross_entropy_gradient, softmax


def distillation_gradient(logits, teacher, temperature):
    """Of DistillKL: T^2 KL(teacher || student), summed, by the batch's size."""
    towards = softmax(logits / temperature) - softmax(teacher / temperature)
    return temperature * towards / len(logits)


def scrub(
    variables, epochs, rate, msteps, gamma, alpha, temperature, weight_decay=5e-4
):
    """An epoch is (forget batches, retain batches)."""
    student, teacher = Net(variables), Net(variables)
    student.training = True
    optimizer = SGD(student, rate, momentum=0.9, weight_decay=weight_decay)
    for epoch, (forget, retain) in enumerate(epochs, 1):
        if epoch <= msteps:
            for x, _ in forget:
                away = -distillation_gradient(student(x), teacher(x), temperature)
                optimizer.step(student.backward(away))
        for x, y in retain:
            logits = student(x)
            obey = distillation_gradient(logits, teacher(x), temperature)
            learn = cross_entropy_gradient(logits, y)
            optimizer.step(student.backward(gamma * learn + alpha * obey))
    return student.variables()


def delete(variables, epochs, rate, disable_bn=False):
    """An epoch is its forget batches."""
    student, teacher = Net(variables), Net(variables)
    student.training = not disable_bn  # nothing else in this net has a mode
    optimizer = SGD(student, rate, momentum=0.9)
    for forget in epochs:
        for x, y in forget:
            wanted = teacher(x)
            wanted[np.arange(len(x)), y] = -1e10
            towards = softmax(student(x)) - softmax(wanted)
            optimizer.step(student.backward(towards / len(x)))
    return student.variables()


def bad_teacher(variables, bad, epochs, rate, temperature=1.0):
    """Labels are 1 for forgotten examples; the loss is a mean over classes too."""
    student, good, bad = Net(variables), Net(variables), Net(bad)
    student.training = True
    optimizer = Adam(student, rate)
    for batches in epochs:
        for x, forgotten in batches:
            logits, l = student(x), np.asarray(forgotten)[:, None]  # noqa: E741
            wanted = l * softmax(bad(x) / temperature)
            wanted = wanted + (1 - l) * softmax(good(x) / temperature)
            towards = (softmax(logits / temperature) - wanted) / temperature
            optimizer.step(student.backward(towards / logits.size))
    return student.variables()
