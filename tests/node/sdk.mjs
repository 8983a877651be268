// Drives Node SDKs through their scenarios against gateways: each line of stdin is one job, {sdk, origin, key, model}, answered by
// one line of JSON. One process for all of them, since loading the SDKs takes far longer than using them.
// Each scenario's value is what the SDK returned, or {error} where it threw: the Python side judges.
import { createInterface } from "node:readline";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { Ollama } from "ollama";
import { generateText, streamText, generateObject, tool, stepCountIs, jsonSchema } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

let origin, key, model; // of the job at hand
const messages = [{ role: "user", content: "Hi" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

async function collect(stream) {
    const out = [];
    for await (const part of stream) out.push(part);
    return out;
}

const openai = () => new OpenAI({ baseURL: origin + "/v1", apiKey: key, maxRetries: 0 });
const anthropic = () => new Anthropic({ baseURL: origin, apiKey: key, maxRetries: 0 });
const google = () => new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: origin } });
const ollama = () => new Ollama({ host: origin, headers: { Authorization: "Bearer " + key } });

// The AI SDK validates every event against its schemas; `warnings` and `error` parts would show a breach.
function aiScenarios(languageModel) {
    const weather = tool({
        description: "Weather of a city", inputSchema: jsonSchema(parameters),
        execute: async ({ city }) => "18 degrees in " + city,
    });
    return {
        async text() {
            const r = await generateText({ model: languageModel, prompt: "Hi", maxRetries: 0 });
            return { text: r.text, reasoning: r.reasoningText ?? "", finish: r.finishReason, usage: r.usage };
        },
        async stream() {
            const r = streamText({ model: languageModel, prompt: "Hi", maxRetries: 0, onError() {} });
            const parts = await collect(r.fullStream);
            const of = (type) => parts.filter((p) => p.type === type).map((p) => p.text ?? p.delta ?? "").join("");
            return { text: of("text-delta"), reasoning: of("reasoning-delta"), finish: await r.finishReason,
                     errors: parts.filter((p) => p.type === "error").map((p) => String(p.error)) };
        },
        async tools() {
            const r = await generateText({ model: languageModel, prompt: "Weather?", tools: { get_weather: weather },
                                           stopWhen: stepCountIs(3), maxRetries: 0 });
            return { text: r.text, steps: r.steps.length,
                     results: r.steps.flatMap((s) => s.toolResults.map((t) => t.output)) };
        },
        async toolsStream() {
            const r = streamText({ model: languageModel, prompt: "Weather?", tools: { get_weather: weather },
                                   stopWhen: stepCountIs(3), maxRetries: 0, onError() {} });
            const parts = await collect(r.fullStream);
            return { text: await r.text, results: parts.filter((p) => p.type === "tool-result").map((p) => p.output),
                     errors: parts.filter((p) => p.type === "error").map((p) => String(p.error)) };
        },
    };
}

const kinds = {
    "openai": {
        async text() {
            const r = await openai().chat.completions.create({ model, messages });
            return { text: r.choices[0].message.content, finish: r.choices[0].finish_reason, usage: r.usage.total_tokens };
        },
        async stream() {
            const s = openai().chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
            const r = await s.finalChatCompletion();
            return { text: r.choices[0].message.content, finish: r.choices[0].finish_reason, usage: r.usage.total_tokens };
        },
        async responses() {
            const r = await openai().responses.create({ model, input: "Hi", store: false });
            return { text: r.output_text, status: r.status, usage: r.usage.total_tokens };
        },
        async responsesStream() {
            const s = openai().responses.stream({ model, input: "Hi", store: false });
            const events = await collect(s);
            const r = await s.finalResponse();
            return { text: r.output_text, status: r.status, last: events.at(-1).type,
                     deltas: events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join("") };
        },
        // asks for base64 unless told otherwise, and decodes it
        async embeddings() {
            const r = await openai().embeddings.create({ model, input: ["Hi", "there"] });
            return { vectors: r.data.map((d) => Array.from(d.embedding)), usage: r.usage.prompt_tokens };
        },
        async embeddingsFloat() {
            return (await openai().embeddings.create({ model, input: "Hi", encoding_format: "float" })).data[0].embedding;
        },
        async models() { return (await collect(await openai().models.list())).map((m) => m.id); },
        async unknown() {
            try { await openai().chat.completions.create({ model: "nothing", messages }); } catch (e) {
                return { name: e.constructor.name, status: e.status, code: e.code };
            }
        },
    },
    "anthropic": {
        async text() {
            const r = await anthropic().messages.create({ model, max_tokens: 512, messages });
            return { text: r.content.filter((b) => b.type === "text").map((b) => b.text).join(""), finish: r.stop_reason,
                     usage: r.usage.input_tokens + r.usage.output_tokens };
        },
        async stream() {
            const r = await anthropic().messages.stream({ model, max_tokens: 512, messages }).finalMessage();
            return { text: r.content.filter((b) => b.type === "text").map((b) => b.text).join(""), finish: r.stop_reason,
                     usage: r.usage.input_tokens + r.usage.output_tokens };
        },
        async count() { return (await anthropic().messages.countTokens({ model, messages })).input_tokens; },
        async models() { return (await collect(await anthropic().models.list())).map((m) => m.id); },
        async unknown() {
            try { await anthropic().messages.create({ model: "nothing", max_tokens: 9, messages }); } catch (e) {
                return { name: e.constructor.name, status: e.status };
            }
        },
    },
    "google": {
        async text() {
            const r = await google().models.generateContent({ model, contents: "Hi" });
            return { text: r.text, finish: r.candidates[0].finishReason, usage: r.usageMetadata.totalTokenCount };
        },
        async stream() {
            const r = await collect(await google().models.generateContentStream({ model, contents: "Hi" }));
            return { text: r.map((c) => c.text ?? "").join(""), finish: r.at(-1).candidates[0].finishReason,
                     usage: r.at(-1).usageMetadata.totalTokenCount };
        },
        async unknown() {
            try { await google().models.generateContent({ model: "nothing", contents: "Hi" }); } catch (e) {
                return { name: e.constructor.name, status: e.status };
            }
        },
    },
    "ollama": {
        async text() {
            const r = await ollama().chat({ model, messages });
            return { text: r.message.content, finish: r.done_reason, usage: r.prompt_eval_count + r.eval_count };
        },
        async stream() {
            const r = await collect(await ollama().chat({ model, messages, stream: true }));
            return { text: r.map((c) => c.message.content).join(""), finish: r.at(-1).done_reason,
                     usage: r.at(-1).prompt_eval_count + r.at(-1).eval_count };
        },
        async models() { return (await ollama().list()).models.map((m) => m.name); },
        async unknown() {
            try { await ollama().chat({ model: "nothing", messages }); } catch (e) {
                return { name: e.constructor.name, status: e.status_code };
            }
        },
    },
    "ai-openai": () => aiScenarios(createOpenAI({ baseURL: origin + "/v1", apiKey: key })(model)),
    "ai-openai-chat": () => aiScenarios(createOpenAI({ baseURL: origin + "/v1", apiKey: key }).chat(model)),
    "ai-anthropic": () => aiScenarios(createAnthropic({ baseURL: origin + "/v1", apiKey: key })(model)),
    "ai-google": () => aiScenarios(createGoogleGenerativeAI({ baseURL: origin + "/v1beta", apiKey: key })(model)),
    "ai-compatible": () => aiScenarios(createOpenAICompatible({ name: "sluice", baseURL: origin + "/v1", apiKey: key,
                                                                includeUsage: true })(model)),
};

async function run(sdk) {
    const scenarios = typeof kinds[sdk] === "function" ? kinds[sdk]() : kinds[sdk];
    const out = {};
    for (const [name, scenario] of Object.entries(scenarios)) {
        try {
            out[name] = (await scenario()) ?? null;
        } catch (e) {
            out[name] = { error: `${e.name}: ${e.message}`.slice(0, 2000) };
        }
    }
    return out;
}

for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    ({ origin, key, model } = job);
    process.stdout.write(JSON.stringify(await run(job.sdk)) + "\n");
}
