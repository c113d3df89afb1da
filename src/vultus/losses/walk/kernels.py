"""Device code of the engine `triton`: one block of rows times one block of classes, never written as logits.

`reduce_classes` sums the block's logits up; `weigh_classes` makes the same logits again and writes the factor that both
gradients are matrix products with. Blocks reach past the end of B, C and D: what is read there is 0, and what counts is
masked. Everything is float32 except the factors of a product, which have the type of x.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# Triton's types are those of the device's code: they let nobody iterate over tl.static_range or pass a bool.

from __future__ import annotations

import triton
import triton.language as tl

from vultus.losses.walk import weigh

_TINY = tl.constexpr(weigh.TINY)


@triton.jit
def _multiply(
    x, weight, rows, centers, real_rows, real_centers, width,
    MEASURE: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """x_i . W_j, (BLOCK_B, BLOCK_C), and with MEASURE the |W_j|^2, (BLOCK_C,), from the same reading of W."""
    products = tl.zeros((BLOCK_B, BLOCK_C), tl.float32)
    squares = tl.zeros((BLOCK_D, BLOCK_C), tl.float32)  # summed after the loop: one exchange between threads, not many
    for start in range(0, width, BLOCK_D):
        columns = start + tl.arange(0, BLOCK_D)
        inside = columns < width
        left = tl.load(
            x + rows[:, None] * width + columns[None, :], mask=real_rows[:, None] & inside[None, :], other=0.0
        )
        right = tl.load(
            weight + centers[None, :] * width + columns[:, None],
            mask=inside[:, None] & real_centers[None, :],
            other=0.0,
        )
        if MEASURE:
            squares += right * right
        # "ieee": float32 factors are not rounded to TensorFloat-32, so that a GPU agrees with a CPU.
        products = tl.dot(left, right.to(left.dtype), products, input_precision="ieee")
    return products, tl.sum(squares, 0)


@triton.jit
def _largest_products(
    x, weight, inverse, bias, rows, classes, real_rows, real_classes, width,
    SUBCENTERS: tl.constexpr, NORMALIZED: tl.constexpr, MEASURE: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """p_ij, and which sub-centre gave it, (BLOCK_B, BLOCK_C) each.

    MEASURE: write 1 / |W_j| to `inverse` (C * K,) instead of reading it there.
    """
    largest = tl.full((BLOCK_B, BLOCK_C), float("-inf"), tl.float32)
    winner = tl.zeros((BLOCK_B, BLOCK_C), tl.int32)
    for k in tl.static_range(SUBCENTERS):
        centers = classes.to(tl.int64) * SUBCENTERS + k  # C * K * D may pass 2^31
        products, squares = _multiply(
            x, weight, rows, centers, real_rows, real_classes, width,
            NORMALIZED and MEASURE, BLOCK_B, BLOCK_C, BLOCK_D,
        )  # fmt: skip
        if NORMALIZED:
            if MEASURE:
                length = tl.sqrt(squares)
                shrink = tl.where(length > _TINY, 1.0 / tl.maximum(length, _TINY), 0.0)
                if tl.program_id(0) == 0:  # every block of rows measures, for itself; the first one writes
                    tl.store(inverse + centers, shrink, mask=real_classes)
            else:
                shrink = tl.load(inverse + centers, mask=real_classes, other=0.0)
            products *= shrink[None, :]
        if SUBCENTERS == 1:
            largest = products
        else:
            winner = tl.where(products > largest, k, winner)
            largest = tl.maximum(largest, products)
    if bias is not None:
        largest += tl.load(bias + classes, mask=real_classes, other=0.0)[None, :]
    return largest, winner


@triton.jit
def _logits(
    products, left_out, offset, rows, real_rows, hard, parameter, scale, ceiling,
    KIND: tl.constexpr, FILTERED: tl.constexpr,
):  # fmt: skip
    """z_ij = scale * f(p_ij) + offset, minus infinity where left out, and f'(p_ij), (BLOCK_B, BLOCK_C) each."""
    slope = 1.0
    bent = products
    if FILTERED:
        left_out = left_out | (products > ceiling)
    if KIND == "curricular":
        t = tl.load(parameter)
        is_hard = products > tl.load(hard + rows, mask=real_rows, other=0.0)[:, None]
        bent = tl.where(is_hard, products * (t + products), products)
        slope = tl.where(is_hard, t + 2.0 * products, 1.0)
    elif KIND == "power":
        exponent = tl.load(parameter)
        level = tl.log2(tl.maximum((products + 1.0) * 0.5, 1e-30))  # log2(0) * 0 would be undefined
        bent = 2.0 * tl.exp2(exponent * level) - 1.0
        slope = exponent * tl.exp2((exponent - 1.0) * level)
    logits = bent * scale
    if offset is not None:
        logits += tl.load(offset)
    return tl.where(left_out, float("-inf"), logits), slope


@triton.jit
def _softplus(z):
    """log(1 + exp(z)), to the last digits also where exp(z) is far below 1: a million such terms are a loss."""
    small = tl.exp(-tl.abs(z))
    above = 1.0 + small
    rounded = above - 1.0
    # log(above) is exact for 1 + rounded; the quotient puts right what the addition rounded away.
    tail = tl.where(rounded == 0.0, small, tl.log(above) * (small / tl.where(rounded == 0.0, 1.0, rounded)))
    return tl.maximum(z, 0.0) + tail


@triton.jit
def reduce_classes(
    x, weight, inverse, bias, labels, offset, hard, parameter, totals, sides,
    scale, ceiling, batch, classes, width, share,
    SUBCENTERS: tl.constexpr, NORMALIZED: tl.constexpr, SOFTPLUS: tl.constexpr,
    KIND: tl.constexpr, FILTERED: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Sum one block of rows over the split's `share` of the classes. Grid: (blocks of rows, splits).

    totals, sides: (splits, B). Log-sum-exp: the sum of exp(z - side) and the largest z; the online kind, which rescales
    the sum whenever a larger z comes. Softplus: the sum and its derivative by the offset.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    real_rows = rows < batch
    own = tl.load(labels + rows, mask=real_rows, other=-1)
    total = tl.zeros((BLOCK_B,), tl.float32)
    side = tl.full((BLOCK_B,), 0.0 if SOFTPLUS else float("-inf"), tl.float32)
    first = tl.program_id(1) * share
    for begin in range(first, tl.minimum(first + share, classes), BLOCK_C):
        columns = begin + tl.arange(0, BLOCK_C)
        real_classes = columns < classes
        products, _ = _largest_products(
            x, weight, inverse, bias, rows, columns, real_rows, real_classes, width,
            SUBCENTERS, NORMALIZED, True, BLOCK_B, BLOCK_C, BLOCK_D,
        )  # fmt: skip
        left_out = (columns[None, :] == own[:, None]) | ~real_classes[None, :]
        z, _ = _logits(products, left_out, offset, rows, real_rows, hard, parameter, scale, ceiling, KIND, FILTERED)
        if SOFTPLUS:
            total += tl.sum(_softplus(z), 1)
            side += tl.sum(tl.sigmoid(z), 1)
        else:
            peak = tl.maximum(side, tl.max(z, 1))
            shift = tl.where(peak == float("-inf"), 0.0, peak)  # nothing yet: -inf - -inf is undefined
            total = total * tl.exp(side - shift) + tl.sum(tl.exp(z - shift[:, None]), 1)
            side = peak
    place = tl.program_id(1) * batch + rows
    tl.store(totals + place, total, mask=real_rows)
    tl.store(sides + place, side, mask=real_rows)


@triton.jit
def weigh_classes(
    x, weight, inverse, bias, labels, offset, hard, parameter, levels, outer, gradient, sums,
    scale, ceiling, batch, first, last, width,
    SUBCENTERS: tl.constexpr, NORMALIZED: tl.constexpr, SOFTPLUS: tl.constexpr,
    KIND: tl.constexpr, FILTERED: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """d loss / d (x_i . W_j) of the classes first..last, n of them. Grid: (blocks of rows, blocks of classes).

    levels, outer: (B,), others and scale * d loss / d others. gradient: (B, n * K), in the type of x.
    sums: (blocks of rows, n) or None, d loss / d p_ij added up over a block, for the bias.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    real_rows = rows < batch
    columns = first + tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    real_classes = columns < last
    real = real_rows[:, None] & real_classes[None, :]
    own = tl.load(labels + rows, mask=real_rows, other=-1)
    products, winner = _largest_products(
        x, weight, inverse, bias, rows, columns, real_rows, real_classes, width,
        SUBCENTERS, NORMALIZED, False, BLOCK_B, BLOCK_C, BLOCK_D,
    )  # fmt: skip
    left_out = (columns[None, :] == own[:, None]) | ~real  # a row past the end could overflow, and 0 * inf spreads
    z, slope = _logits(products, left_out, offset, rows, real_rows, hard, parameter, scale, ceiling, KIND, FILTERED)
    if SOFTPLUS:
        change = tl.sigmoid(z)
    else:
        change = tl.exp(z - tl.load(levels + rows, mask=real_rows, other=0.0)[:, None])
    change = change * slope * tl.load(outer + rows, mask=real_rows, other=0.0)[:, None]
    if sums is not None:
        place = tl.program_id(0) * (last - first) + columns - first
        tl.store(sums + place, tl.sum(change, 0), mask=real_classes)
    line = gradient + rows.to(tl.int64)[:, None] * ((last - first) * SUBCENTERS)
    for k in tl.static_range(SUBCENTERS):
        centers = columns.to(tl.int64) * SUBCENTERS + k
        part = change if SUBCENTERS == 1 else tl.where(winner == k, change, 0.0)
        if NORMALIZED:
            part *= tl.load(inverse + centers, mask=real_classes, other=0.0)[None, :]
        tl.store(line + (centers - first * SUBCENTERS)[None, :], part.to(gradient.dtype.element_ty), mask=real)


INTERPRETED = not isinstance(reduce_classes, triton.JITFunction)
"""Whether TRITON_INTERPRET was set when this module was imported: the kernels then run on a CPU, slowly."""
