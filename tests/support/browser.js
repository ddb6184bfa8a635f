// What is wrong with the page that is open, as a list of sentences: empty if nothing is.
// browser.py calls this with the name of a check. Hidden elements are skipped everywhere: a figure
// may be drawn twice, for wide and for narrow windows, with one of the two shown.
(name) => {
  const SMALLEST_TEXT = 9; // CSS px
  const LEAST_CONTRAST = 4.5; // WCAG AA
  const ROUNDING = 1; // px
  const OVERLAP = 2; // px; the box of a text is a little higher than its letters

  const printed = matchMedia("print").matches;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const box = (e) => e.getBoundingClientRect();
  const px = (n) => `${Math.round(n * 10) / 10} px`;
  const hasArea = (e) => box(e).width > 0 && box(e).height > 0;
  const shown = (e) =>
    e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && hasArea(e);
  const inPage = (b) => b.left >= -ROUNDING && b.right <= innerWidth + ROUNDING;
  const said = (e) => (e.getAttribute("aria-label") || e.textContent).trim().replace(/\s+/g, " ");
  const what = (e) => `<${e.localName}> "${said(e).slice(0, 40)}"`;
  const ancestors = (e) => (e.parentElement ? [e, ...ancestors(e.parentElement)] : [e]);
  const holdsText = (e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
  const texts = (root) => all("*", root).filter((e) => holdsText(e) && shown(e));
  const figures = () => all("svg").filter((e) => !e.parentElement.closest("svg"));
  const shownFigures = () =>
    figures().filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }));

  // In print nothing can be scrolled to.
  const overflow = (e) => getComputedStyle(e).overflowX;
  const scrolls = (e) => !printed && ["auto", "scroll"].includes(overflow(e));
  const cuts = (e) => overflow(e) !== "visible" && !scrolls(e);

  function sections() {
    const links = all('nav a[href^="#"]');
    if (!links.length) return ["the nav lists no section"];
    return links.flatMap((link) => {
      const section = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (!section) return [`the nav lists ${link.hash}, which does not exist`];
      if (!shown(section)) return [`section ${link.hash} is not visible`];
      const content = texts(section).filter((e) => !e.closest("h1, h2"));
      return content.length ? [] : [`section ${link.hash} has no content`];
    });
  }

  function width() {
    const page = document.scrollingElement;
    const sideways =
      page.scrollWidth > innerWidth
        ? [`the page is ${page.scrollWidth} px wide in a window of ${innerWidth} px`]
        : [];
    const elements = all("body *").filter((e) => e instanceof HTMLElement && shown(e));
    const reachable = (e) => ancestors(e).slice(1).some((a) => scrolls(a) && inPage(box(a)));
    // The box of a text within a line includes the space at which the line breaks.
    const hanging = (e) => getComputedStyle(e).display === "inline";
    const space = (e) => parseFloat(getComputedStyle(e).fontSize) / 2;
    const fits = (e) => inPage(box(e)) || (hanging(e) && box(e).right <= innerWidth + space(e));
    const outside = elements.filter((e) => !fits(e) && !reachable(e));
    const outermost = outside.filter((e) => !outside.includes(e.parentElement));
    // What is 1 px wide is a text for screen readers.
    const cut = elements.filter(
      (e) => cuts(e) && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + ROUNDING,
    );
    return [
      ...sideways,
      ...outermost.map((e) => `${what(e)} ends at ${px(box(e).right)} of ${innerWidth}`),
      ...cut.map((e) => `${what(e)} shows ${e.clientWidth} of its ${e.scrollWidth} px`),
    ];
  }

  // A wide window shows a table whole; a narrow one may scroll it.
  function tables() {
    return all("table")
      .filter((e) => shown(e) && innerWidth >= 1280)
      .map((e) => [e, ancestors(e).find((a) => scrolls(a) && a.scrollWidth > a.clientWidth + ROUNDING)])
      .filter(([, around]) => around)
      .map(([e, around]) => `${what(e)} is ${around.scrollWidth} px wide in ${around.clientWidth} px`);
  }

  function drawings() {
    // Twins within one figure: at every width one of them must be there.
    const blank = all("figure")
      .filter((e) => shown(e) && all("svg", e).length && !all("svg", e).some(shown))
      .map((e) => `${what(e)} shows none of its drawings`);
    const wrong = shownFigures().flatMap((svg) => {
      if (!hasArea(svg)) return [`${what(svg)} has no area`];
      const drawn = svg.getBBox();
      if (!drawn.width || !drawn.height) return [`${what(svg)} draws nothing`];
      if (!inPage(box(svg))) return [`${what(svg)} ends at ${px(box(svg).right)} of ${innerWidth}`];
      const frame = cuts(svg) ? box(svg) : { left: 0, right: innerWidth, top: -Infinity, bottom: Infinity };
      return all("text", svg)
        .filter(shown)
        .filter(
          (e) =>
            box(e).left < frame.left - OVERLAP ||
            box(e).right > frame.right + OVERLAP ||
            box(e).top < frame.top - OVERLAP ||
            box(e).bottom > frame.bottom + OVERLAP,
        )
        .map((e) => `${what(e)} is cut off by its drawing`);
    });
    return [...blank, ...wrong];
  }

  function scale(e) {
    if (e instanceof SVGGraphicsElement) {
      const m = e.getScreenCTM();
      return Math.sqrt(Math.abs(m.a * m.d - m.b * m.c));
    }
    const transforms = ancestors(e).map((a) => new DOMMatrix(getComputedStyle(a).transform));
    return transforms.reduce((product, m) => product * Math.sqrt(Math.abs(m.a * m.d - m.b * m.c)), 1);
  }

  function sizes() {
    return texts(document.body)
      .map((e) => [e, parseFloat(getComputedStyle(e).fontSize) * scale(e)])
      .filter(([, size]) => size < SMALLEST_TEXT - 0.01)
      .map(([e, size]) => `${what(e)} is ${px(size)} high`);
  }

  function overlaps() {
    return shownFigures().flatMap((svg) => {
      const labels = all("text", svg).filter((e) => e.textContent.trim() && shown(e));
      const boxes = labels.map(box);
      const common = (a, b) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > OVERLAP &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > OVERLAP;
      return labels.flatMap((e, i) =>
        labels
          .slice(i + 1)
          .filter((_, j) => common(boxes[i], boxes[i + 1 + j]))
          .map((other) => `${what(e)} overlaps ${what(other)}`),
      );
    });
  }

  // Colours may be written in many ways; a canvas knows them all.
  const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const brush = pixel.getContext("2d", { willReadFrequently: true });
  function over(below, ...colours) {
    brush.globalAlpha = 1;
    for (const [colour, alpha] of [[below, 1], ...colours]) {
      brush.globalAlpha = alpha;
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = brush.getImageData(0, 0, 1, 1).data;
    return `rgb(${r}, ${g}, ${b})`;
  }
  function luminance(colour) {
    const [r, g, b] = colour
      .match(/\d+/g)
      .map((n) => n / 255)
      .map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast() {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = "Canvas"; // what lies below the page: white, or near black in the dark
    const canvas = over("white", [getComputedStyle(probe).color, 1]);
    probe.remove();
    // Styles do not say what the text of a drawing lies on.
    return texts(document.body)
      .filter((e) => e instanceof HTMLElement)
      .flatMap((e) => {
        const chain = ancestors(e);
        const layers = chain.map((a) => [getComputedStyle(a).backgroundColor, 1]).reverse();
        const below = over(canvas, ...layers);
        const opacity = chain.reduce((product, a) => product * getComputedStyle(a).opacity, 1);
        const ink = over(below, [getComputedStyle(e).color, opacity]);
        const [low, high] = [luminance(below), luminance(ink)].sort((a, b) => a - b);
        const ratio = (high + 0.05) / (low + 0.05);
        return ratio < LEAST_CONTRAST
          ? [`${what(e)} has a contrast of ${ratio.toFixed(2)}, ${ink} on ${below}`]
          : [];
      });
  }

  return { sections, width, tables, drawings, sizes, overlaps, contrast }[name]();
}
