// Runs ONNX files in onnxruntime-web: `node client_web.mjs MODULES FORM FOLDER ...`; MODULES is a node_modules folder, and the
// rest as in client_runs.py. Tensors are read from BATCH.json and written to web.BATCH.json as [type, shape, numbers], whole
// numbers of 64 bits as text. An error ends the process, since what is left of the module may be of no use.

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, form, ...folders] = process.argv.slice(2);
const ort = await import(pathToFileURL(resolve(modules, "onnxruntime-web/dist/ort.node.min.mjs")).href);
const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };

async function runFolder(folder) {
  for (const batch of [1, 3]) {
    const feeds = {};
    for (const [name, [type, shape, numbers]] of Object.entries(JSON.parse(readFileSync(join(folder, `${batch}.json`))))) {
      const data = type === "int64" ? BigInt64Array.from(numbers.map(BigInt)) : arrays[type].from(numbers);
      feeds[name] = new ort.Tensor(type, data, shape);
    }
    const file = form === "model" ? "model.onnx" : `${form}${batch}.onnx`;
    const session = await ort.InferenceSession.create(join(folder, file), { executionProviders: ["wasm"] });
    const results = {};
    for (const [name, tensor] of Object.entries(await session.run(feeds))) {
      const numbers = Array.from(tensor.data, (number) => (typeof number === "bigint" ? String(number) : number));
      results[name] = [tensor.type, tensor.dims, numbers];
    }
    const text = JSON.stringify(results, (_, value) => (Object.is(value, NaN) ? "NaN" : value));
    writeFileSync(join(folder, `web.${batch}.json`), text);
  }
}

for (const folder of folders) {
  try {
    await runFolder(folder);
  } catch (error) {
    writeFileSync(join(folder, "web.error"), String(error).split("\n")[0].slice(0, 160));
    break;
  }
}
process.exit(0);
