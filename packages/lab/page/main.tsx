/** The page: its navigation, and the view that the link names. */

import { render } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { follow, type Go, hashOf, parseLink } from "./link.js";
import { VIEWS } from "./views.js";

function Page() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = (): void => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const link = parseLink(hash, VIEWS[0].id);
  const { id, title, View } = VIEWS.find((view) => view.id === link.view) ?? VIEWS[0];
  const go: Go = useCallback((to) => {
    location.hash = hashOf(follow(parseLink(location.hash, VIEWS[0].id), to));
  }, []);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${title} · pinless lab`;
    if (!first.current) main.current?.focus();
    first.current = false;
  }, [id]);
  return (
    <>
      <header class="top">
        <button type="button" class="skip" onClick={() => main.current?.focus()}>
          Skip to the view
        </button>
        <p class="name">
          pinless <span>lab</span>
        </p>
        <nav aria-label="Views">
          {VIEWS.map((view) => (
            <a
              key={view.id}
              href={hashOf(follow(link, { view: view.id }))}
              aria-current={view.id === id ? "page" : undefined}
            >
              {view.title}
            </a>
          ))}
        </nav>
      </header>
      <main ref={main} tabIndex={-1}>
        <View key={id} link={{ ...link, view: id }} go={go} />
      </main>
    </>
  );
}

const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
