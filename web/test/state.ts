// The state of a folded trace in the form in which tests/golden has it.
import type { Usage } from "../src/lib/api/events";
import { callState } from "../src/lib/trace/summary";
import type { Node, Trace } from "../src/lib/trace/trace";

export function stateOf(trace: Trace): unknown {
  return {
    tree: nodeState(trace.root!),
    time: trace.time,
    first_word: trace.firstWord ?? null,
    lost: trace.lost,
    calls: Object.fromEntries(trace.calls.map((node) => [node.start.span, callState(node, "running")])),
  };
}

function nodeState(node: Node): unknown {
  const { start, end } = node;
  const state = {
    span: start.span,
    role: start.role,
    model: start.model,
    layer: start.layer,
    index: start.index,
    started: start.time,
    first_word: node.firstWord,
    ended: end?.time,
    error: node.error,
    finish_reason: end?.finish_reason,
    usage: node.usage && usageState(node.usage),
    text: node.text || undefined,
    notes: node.notes.length ? node.notes.map(({ time, kind, data }) => ({ time, kind, ...data })) : undefined,
    calls: node.children.length ? node.children.map(nodeState) : undefined,
  };
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== undefined));
}

function usageState({ input_tokens, output_tokens, cost, estimated }: Usage): unknown {
  return { input_tokens, output_tokens, cost: cost ?? null, ...(estimated && { estimated }) };
}
