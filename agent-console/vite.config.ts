import { defineConfig } from "vite";

// One page of static files. Nothing is inlined, so that the page's own Content-Security-Policy needs no exception.
export default defineConfig({
  base: "./",
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
