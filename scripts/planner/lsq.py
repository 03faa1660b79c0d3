"""Least squares with coefficients that cannot be negative, and what chance does to them.

A cost below nothing makes no sense, so it is not allowed to come out of noise. Errors are relative:
a step that used 2 % of a core is to be right within as many percent as one that used 90 %.
"""

import math
import random

# An iteration that gains less than this share of the greatest gradient has arrived.
TOLERANCE = 1e-10


def solve(matrix, right):
    """The solution of a small symmetric system, by elimination with pivots; None if it has none."""
    size = len(right)
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        if abs(rows[pivot][column]) < 1e-13:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            for place in range(column, size + 1):
                rows[row][place] -= factor * rows[column][place]
    found = [0.0] * size
    for row in reversed(range(size)):
        known = sum(rows[row][place] * found[place] for place in range(row + 1, size))
        found[row] = (rows[row][size] - known) / rows[row][row]
    return found


def nnls(rows, values, weights):
    """Coefficients of at least 0 with the least weighted sum of squares (Lawson and Hanson's active
    sets).
    """
    count = len(rows[0])
    weighted = [[value * weight for value in row] for row, weight in zip(rows, weights)]
    wanted = [value * weight for value, weight in zip(values, weights)]
    # Columns of one length: deliveries are millions where ticks are tens.
    scales = [math.sqrt(sum(row[place] ** 2 for row in weighted)) or 1.0 for place in range(count)]
    scaled = [[value / scale for value, scale in zip(row, scales)] for row in weighted]
    normal = [[sum(row[i] * row[j] for row in scaled) for j in range(count)] for i in range(count)]
    right = [sum(row[i] * value for row, value in zip(scaled, wanted)) for i in range(count)]
    found, active = [0.0] * count, []
    for _ in range(3 * count):
        gradient = [
            right[i] - sum(normal[i][j] * found[j] for j in range(count)) for i in range(count)
        ]
        outside = [i for i in range(count) if i not in active]
        best = max(outside, key=lambda i: gradient[i], default=None)
        if best is None or gradient[best] <= TOLERANCE * max(map(abs, right)):
            break
        active.append(best)
        if not _move(found, active, normal, right):
            active.remove(best)
            break
    return [value / scale for value, scale in zip(found, scales)]


def _move(found, active, normal, right):
    """Goes to the solution within the active set, and lets go of what would become negative on the
    way.
    """
    while True:
        solution = solve(
            [[normal[i][j] for j in active] for i in active], [right[i] for i in active]
        )
        if solution is None:
            return False
        if min(solution) > 0:
            for place, value in zip(active, solution):
                found[place] = value
            return True
        # As far towards it as nothing turns negative.
        steps = [
            found[i] / (found[i] - value)
            for i, value in zip(active, solution)
            if value <= 0 and found[i] > value
        ]
        step = min(steps, default=0.0)
        for place, value in zip(active, solution):
            found[place] += step * (value - found[place])
        for place, value in list(zip(active, solution)):
            if value <= 0 and found[place] <= 1e-12 * max(1.0, abs(value)):
                found[place] = 0.0
                active.remove(place)
        if not active:
            return False


def relative_weights(values, floor):
    """Weights that make errors relative to the value, or to `floor` where a value is less."""
    return [1.0 / max(abs(value), floor) for value in values]


def dot(row, coefficients):
    """What the coefficients predict for a row."""
    return sum(value * coefficient for value, coefficient in zip(row, coefficients))


def bootstrap(rows, values, weights, found, draws, seed):
    """Coefficients of fits to what might have been measured as well: the design stays, and each
    prediction gets a residual of another row. Residuals are widened for the freedom that the fit
    has used up.
    """
    predicted = [dot(row, found) for row in rows]
    freedom = max(len(rows) - sum(1 for value in found if value > 0), 1)
    widen = (len(rows) / freedom) ** 0.5
    residuals = [
        (value - guess) * weight * widen for value, guess, weight in zip(values, predicted, weights)
    ]
    mean = sum(residuals) / len(residuals)
    residuals = [value - mean for value in residuals]
    chance = random.Random(seed)
    drawn = []
    for _ in range(draws):
        again = [
            guess + residuals[int(chance.random() * len(residuals))] / weight
            for guess, weight in zip(predicted, weights)
        ]
        drawn.append(nnls(rows, again, weights))
    return drawn


def quantile(values, share):
    """The quantile of a list, between its neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values):
    """The middle of a list."""
    return quantile(values, 0.5)


def interval(values, share=0.9):
    """Where the middle `share` of a list lies."""
    return quantile(values, (1 - share) / 2), quantile(values, (1 + share) / 2)
