"""A policy whose words are scripted, so that GRPO's second turn really runs whatever the base can do."""


def script_rollouts(trainer, tokenizer) -> set[int]:
    """Let the policy's words be scripted, differing within a group; returns the numbers of images trained on."""
    arguments = '{"name": "concentrate", "arguments": {"windows": [[0.5, 1.0]]}}'
    call = f"0.0 clear\n<tool_call>\n{arguments}\n</tool_call><|im_end|>"
    looks = [
        "0.5 none\nattribution none verdict clean<|im_end|>",
        "0.5 seen 1 1 9 9\nattribution teleport verdict anomalous<|im_end|>",
    ]
    images: set[int] = set()
    score = trainer._generate_and_score_completions

    def scripted(prompt_ids, images=None, multimodal_fields=None, num_generations=1, has_tool_images=False):
        texts = [looks[i % 2] if has_tool_images else call for i in range(len(prompt_ids))]
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts], None

    def counted(inputs):
        output = score(inputs)
        images.add(sum(output["num_images"]))
        return output

    trainer.max_completion_length = 400
    trainer._generate_single_turn = scripted
    trainer._generate_and_score_completions = counted
    return images
