// Bundled by tests/test_embed.py: an app as somebody writes it.
import { createElement as h } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { App } from "./app.mjs";

const root = document.getElementById("root");
const app = h(App, JSON.parse(root.dataset.props));
if (root.dataset.ssr) hydrateRoot(root, app, { onRecoverableError: (error) => console.error(`hydration: ${error}`) });
else createRoot(root).render(app);
