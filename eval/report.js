"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const picture = (index) => "data:image/webp;base64," + data.images[index];
  const spaced = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const SOURCE = "";

  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (options.some(([value]) => String(value) === before)) select.value = before;
  };
  const off = (record, asked) => {
    const percent = 100 * (record.bytes / asked - 1);
    const far = Math.abs(percent) > 10 ? ", unequal" : "";
    return `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)} %${far}`;
  };
  const codecs = (clip) => [[SOURCE, "source"], ...Object.keys(clip.codecs).map((c) => [c, c])];
  const preset = (form, clip) => {
    const labels = Object.keys(clip.codecs);
    const right = labels.includes(data.lead) ? data.lead : labels[labels.length - 1];
    const others = labels.filter((label) => label !== right);
    form.right.value = right;
    form.left.value = others.includes(data.anchor) ? data.anchor : others[0] || SOURCE;
  };

  // ── Curves: a note beside a marker, for mouse and keyboard ─────────────────────────────────

  const tip = document.getElementById("tip");
  const REACH = 14; // pixels from a marker's middle
  let noted = null;

  const note = (point) => {
    noted = point;
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.getAttribute("aria-label");
    const box = point.getBoundingClientRect();
    const left = box.right + 12 + tip.offsetWidth > innerWidth ? box.left - 12 - tip.offsetWidth : box.right + 12;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, Math.min(box.top, innerHeight - tip.offsetHeight - 4)) + "px";
  };
  const visible = (plot) => [...plot.querySelectorAll(".point:not(.off)")];
  const nearest = (plot, x, y) => {
    let best = null;
    let least = REACH;
    for (const point of visible(plot)) {
      const box = point.getBoundingClientRect();
      const far = Math.hypot((box.left + box.right) / 2 - x, (box.top + box.bottom) / 2 - y);
      if (far < least) [best, least] = [point, far];
    }
    return best;
  };
  for (const plot of document.querySelectorAll(".plot")) {
    plot.addEventListener("pointermove", (event) => {
      const point = nearest(plot, event.clientX, event.clientY);
      if (point !== noted) note(point);
    });
    plot.addEventListener("pointerleave", () => note(null));
    plot.addEventListener("focusin", (event) => note(event.target.closest(".point")));
    plot.addEventListener("focusout", () => note(null));
    // One stop of the tab key for each plot; the arrow keys go on from there.
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") note(null);
      const points = visible(plot);
      const at = points.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      points[at].setAttribute("tabindex", "-1");
      const next = points[(at + step + points.length) % points.length];
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }
  for (const box of document.querySelectorAll(".series input")) {
    box.addEventListener("change", () => {
      for (const part of document.querySelectorAll(".plot [data-codec]"))
        if (part.dataset.codec === box.value) part.classList.toggle("off", !box.checked);
    });
  }
  // What the mouse is at moves away; what is focused moves along.
  addEventListener("scroll", () => note(noted === document.activeElement ? noted : null), { passive: true });

  // ── Slider ─────────────────────────────────────────────────────────────────────────────────

  const slider = (section) => {
    const form = section.querySelector("form").elements;
    const stage = section.querySelector(".stage");
    const divider = section.querySelector(".divider");
    const sides = ["left", "right"];
    const clipNow = () => data.clips[form.clip.value];
    const isWhole = () => +form.view.value === clipNow().boxes.length;

    const place = (percent) => {
      divider.value = percent;
      stage.querySelector("img.left").style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
      stage.querySelector(".line").style.left = percent + "%";
    };
    const chooseClip = () => {
      const clip = clipNow();
      fill(form.step, clip.bytes.map((bytes, i) => [i, spaced(bytes) + " bytes"]));
      for (const side of sides) fill(form[side], codecs(clip));
      fill(form.frame, clip.frames.map((number, i) => [i, `${number} of ${clip.length}`]));
      const views = clip.boxes.map((box, i) => [i, data.views[i] + `, ${box[2]}×${box[3]}`]);
      if (clip.whole.length) views.push([clip.boxes.length, `whole frame, ${clip.size[0]}×${clip.size[1]}`]);
      fill(form.view, views);
    };
    const shot = (side) => {
      const label = form[side].value;
      const clip = clipNow();
      return label === SOURCE ? { views: clip.source } : clip.codecs[label][+form.step.value];
    };
    const show = () => {
      const clip = clipNow();
      const [width, height] = isWhole() ? clip.size : clip.boxes[+form.view.value].slice(2);
      const zoom = isWhole() ? 1 : +form.zoom.value;
      form.zoom.disabled = isWhole();
      stage.style.width = divider.style.width = width * zoom + "px";
      stage.style.aspectRatio = width + "/" + height;
      for (const side of sides) {
        const found = shot(side);
        const index = found && found.views[+form.view.value][+form.frame.value];
        const image = stage.querySelector("img." + side);
        const name = form[side].value || "source";
        image.classList.toggle("pixels", zoom > 1);
        image.hidden = index === null || index === undefined;
        if (!image.hidden) image.src = picture(index);
        image.alt = `${name}, frame ${clip.frames[+form.frame.value]} of ${clip.name}`;
        stage.querySelector(".name." + side).textContent = found ? name : name + ": no picture";
      }
      showMap(clip);
      showValues(clip);
    };
    const showMap = (clip) => {
      const map = section.querySelector(".map");
      const box = clip.boxes[+form.view.value];
      map.hidden = !box;
      if (!box) return;
      map.querySelector("img").src = picture(clip.map);
      const [x, y, w, h] = box.map((v, i) => (100 * v) / clip.size[i % 2] + "%");
      Object.assign(map.querySelector("span").style, { left: x, top: y, width: w, height: h });
    };
    const row = (cells, kind) => {
      const line = document.createElement("tr");
      line.className = kind || "";
      cells.forEach((text, i) => {
        const cell = document.createElement(i && !kind ? "td" : "th");
        if (i && cells.length === 3) cell.colSpan = 2;
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    };
    const showValues = (clip) => {
      const shots = sides.map(shot);
      const records = shots.map((s) => s && s.key && data.records[s.key]);
      const asked = clip.bytes[+form.step.value];
      const about = (title, get) => row([title, ...records.map((r) => (r ? get(r) : "–"))]);
      const rows = [
        row(["", ...sides.map((side) => form[side].value || "source")], "spans"),
        about("file, and how far it is off", (r) => `${spaced(r.bytes)} bytes, ${off(r, asked)}`),
        about("bits a pixel; kbit/s", (r) => `${r.bpp}; ${r.kbps}`),
        about("the codec's own quality", (r) => r.quality),
        row(["", "this frame", "whole clip", "this frame", "whole clip"], "heads"),
      ];
      for (const metric of data.metrics) {
        const values = shots.flatMap((s, i) => [
          s && s.scores ? s.scores[+form.frame.value][metric.name] : null,
          records[i] ? records[i].means[metric.name] : null,
        ]);
        if (values.every((v) => v === null || v === undefined)) continue;
        const texts = values.map((v) => {
          if (v === null || v === undefined) return "–";
          const text = metric.unit === "dB" ? v.toFixed(2) : Math.abs(v) < 1000 ? v.toPrecision(4) : v.toFixed(0);
          return text.replace("-", "−");
        });
        const line = row([metric.title + (metric.higher ? " ↑" : " ↓"), ...texts]);
        for (const [a, b] of [[0, 2], [1, 3]]) {
          if (texts[a] === "–" || texts[b] === "–" || values[a] === values[b]) continue;
          line.children[1 + (values[a] > values[b] === metric.higher ? a : b)].classList.add("better");
        }
        rows.push(line);
      }
      section.querySelector(".values").replaceChildren(...rows);
    };

    fill(form.clip, data.clips.map((clip, i) => [i, clip.name]));
    chooseClip();
    form.step.value = clipNow().film.step;
    preset(form, clipNow());
    for (const control of form) {
      control.addEventListener("change", () => {
        if (control === form.clip) chooseClip();
        // Whole frames may be there at one size alone: what was chosen last decides.
        if (isWhole() && !clipNow().whole.includes(+form.step.value)) {
          if (control === form.step) form.view.value = 0;
          else form.step.value = clipNow().whole[0];
        }
        show();
      });
    }
    form.swap.addEventListener("click", () => {
      [form.left.value, form.right.value] = [form.right.value, form.left.value];
      show();
    });
    divider.addEventListener("input", () => place(+divider.value));
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      place(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      drag(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (stage.hasPointerCapture(event.pointerId)) drag(event);
    });
    show();
    place(50);
  };

  // ── Flip-book ──────────────────────────────────────────────────────────────────────────────

  const flipBook = (section) => {
    const form = section.querySelector("form").elements;
    const at = section.querySelector(".at");
    const panels = section.querySelector(".panels");
    let timer = 0;
    const clipNow = () => data.clips[form.clip.value];

    const load = () => {
      const { film } = clipNow();
      const labels = [SOURCE, form.left.value, form.right.value];
      [...panels.children].forEach((figure, i) => {
        const strip = labels[i] === SOURCE ? film.source : film.codecs[labels[i]];
        const images = strip.map((index) => Object.assign(new Image(), { src: picture(index), alt: "" }));
        figure.firstChild.replaceChildren(...images); // all at once: changing frames loads nothing
        const shot = labels[i] !== SOURCE && clipNow().codecs[labels[i]][film.step];
        const record = shot && data.records[shot.key];
        const bytes = shot ? `, ${spaced(record.bytes)} bytes (${off(record, clipNow().bytes[film.step])})` : "";
        figure.lastChild.textContent = (["", "A: ", "B: "][i] + (labels[i] || "source") + bytes);
      });
      at.max = film.count - 1;
      lay();
    };
    const lay = () => {
      const inPlace = form.layout.value === "place";
      panels.classList.toggle("place", inPlace);
      section.querySelector(".which").hidden = !inPlace;
      [...panels.children].forEach((figure, i) => {
        figure.hidden = inPlace && String(i) !== form.which.value;
      });
      go(Math.min(+at.value, +at.max));
    };
    const go = (number) => {
      const { film } = clipNow();
      at.value = (number + film.count) % film.count;
      for (const figure of panels.children)
        [...figure.firstChild.children].forEach((image, i) => image.classList.toggle("now", i === +at.value));
      section.querySelector(".count").textContent =
        `Frame ${film.first + +at.value} of the clip (${+at.value + 1} of ${film.count})`;
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      form.play.textContent = "Play";
    };
    const play = () => {
      stop();
      timer = setInterval(() => go(+at.value + 1), 1000 / +form.speed.value);
      form.play.textContent = "Pause";
    };
    const chooseClip = () => {
      const clip = clipNow();
      for (const side of ["left", "right"]) fill(form[side], codecs(clip));
      const own = Math.round(100 * clip.fps) / 100;
      const speeds = [...new Set([1, 2, 5, 10, own])].sort((a, b) => a - b);
      fill(form.speed, speeds.map((v) => [v, v === own ? `${v} (as filmed)` : v]));
    };

    fill(form.clip, data.clips.map((clip, i) => [i, clip.name]));
    chooseClip();
    preset(form, clipNow());
    form.speed.value = 10;
    for (const control of form) {
      control.addEventListener("change", () => {
        if (control === form.clip) chooseClip();
        if (control === form.speed && timer) play();
        if (["clip", "left", "right"].includes(control.name)) load();
        else lay();
      });
    }
    form.play.addEventListener("click", () => (timer ? stop() : play()));
    form.back.addEventListener("click", () => (stop(), go(+at.value - 1)));
    form.next.addEventListener("click", () => (stop(), go(+at.value + 1)));
    at.addEventListener("input", () => (stop(), go(+at.value)));
    load();
  };

  if (data.clips.length) {
    slider(document.getElementById("slider"));
    flipBook(document.getElementById("film"));
  }
})();
