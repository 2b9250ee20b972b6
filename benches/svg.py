"""Charts in plain SVG: bars in groups, and lines over named steps."""

import math
from html import escape

COLOURS = {
    "wheel": "#1b6ca8",
    "embedded": "#6fb1dd",
    "uwsgi": "#d9792b",
    "gunicorn": "#7a9a3a",
    "granian": "#8a5aa8",
    "floor": "#8c8c8c",
}
WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 64, 44


def bars(title, groups, names, top=None):
    """`groups` maps a label below the axis to figures by server; what is higher than `top` is cut and says so."""
    highest = max(value for values in groups.values() for value in values.values())
    scale = Scale(0, min(highest, top or highest) * 1.08)
    step = (WIDTH - LEFT - RIGHT) / len(groups)
    parts = [scale.rules()]
    for at, (label, values) in enumerate(groups.items()):
        parts.append(text(LEFT + (at + 0.5) * step, HEIGHT - BOTTOM + 18, label, "middle"))
        parts.append(group(scale, values, LEFT + at * step, step))
    return document(title, parts, names)


def group(scale, values, left, step):
    wide = 0.84 * step / len(values)
    parts = []
    for at, (server, value) in enumerate(values.items()):
        x, y = left + 0.08 * step + at * wide, max(scale.y(value), TOP)
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{0.92 * wide:.1f}" height="{HEIGHT - BOTTOM - y:.1f}"'
        parts.append(f'<rect {shape} fill="{COLOURS[server]}"/>')
        parts.append(text(x + 0.46 * wide, y - 3, short(value), "middle", 9))
    return "".join(parts)


def short(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def lines(title, steps, series, names, is_log=False):
    """`series` maps a server to one figure for each of `steps`; None leaves a gap at the end."""
    values = [value for line in series.values() for value in line if value is not None]
    scale = Scale(min(values) * 0.8, max(values) * 1.25, True) if is_log else Scale(0, max(values) * 1.08)
    wide = (WIDTH - LEFT - RIGHT) / len(steps)
    parts = [scale.rules()]
    parts += [text(LEFT + (at + 0.5) * wide, HEIGHT - BOTTOM + 18, step, "middle") for at, step in enumerate(steps)]
    for server, line in series.items():
        points = [(LEFT + (at + 0.5) * wide, scale.y(value)) for at, value in enumerate(line) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[server]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[server]}"/>' for x, y in points]
    return document(title, parts, names)


class Scale:
    """From figures to heights."""

    def __init__(self, low, high, is_log=False):
        self.is_log = is_log
        self.low, self.high = self.placed(low), self.placed(high)

    def placed(self, value):
        return math.log10(value) if self.is_log else value

    def y(self, value):
        share = (self.placed(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    def rules(self):
        return "".join(self.rule(tick) for tick in self.ticks())

    def rule(self, tick):
        y = self.y(tick)
        line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        return line + text(LEFT - 6, y + 4, f"{tick:,.6g}", "end")

    def ticks(self):
        """Round figures: 1, 2 and 5 times powers of ten on a logarithmic scale, about six steps on a plain one."""
        if self.is_log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            return [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
        step = round_step(self.high / 6)
        return [step * number for number in range(math.floor(self.high / step) + 1)]


def round_step(rough):
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1, 2, 5, 10), key=lambda factor: abs(factor - rough / power))


def text(x, y, words, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(str(words))}</text>'


def document(title, parts, names):
    """`names` maps each server shown to how it is called."""
    keys = []
    for at, (server, name) in enumerate(names.items()):
        x = LEFT + at * (WIDTH - LEFT - RIGHT) / len(names)
        keys.append(f'<rect x="{x:.1f}" y="34" width="12" height="12" fill="{COLOURS[server]}"/>')
        keys.append(text(x + 17, 44, name))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="#222">'
    )
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, paper, text(LEFT, 20, title, size=15), *keys, *parts, "</svg>"]) + "\n"
