import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The page that plays the kiosk in tests and benchmarks; it shares the console's code and is never shipped with it.
export default defineConfig({
  root: fileURLToPath(new URL("./kiosk", import.meta.url)),
  base: "./",
  build: {
    target: "es2022",
    outDir: fileURLToPath(new URL("../build/kiosk", import.meta.url)),
    emptyOutDir: true,
    modulePreload: { polyfill: false },
  },
});
