#!/bin/bash
# What people write before they look for a tool: one rotation, with curl and jq, up to the promoted and proved key. The
# benchmarks compare with it. It records nothing, and recovers from nothing: the first thing that goes wrong ends it.
#
#   rotate.sh NAME      with XAI, KEY, TEAM, VAULT (…/v1/MOUNT) and TOKEN in the environment
set -euo pipefail
name=$1
xai() { curl -sf -H "Authorization: Bearer $1" "${@:2}"; }
vault() { curl -sf -H "X-Vault-Token: $TOKEN" "$@"; }
chat() { xai "$1" -o /dev/null -d '{"model":"grok-4","messages":[{"role":"user","content":"ping"}],"max_tokens":1}' "$XAI/v1/chat/completions"; }

vault -o /dev/null "$VAULT/data/llm/$name"
made=$(jq -n --arg name "$name" '{name: $name, acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}' |
  xai "$KEY" -d @- "$XAI/auth/teams/$TEAM/api-keys")
id=$(jq -r .apiKeyId <<<"$made")
jq '{data: {value: .apiKey}}' <<<"$made" | vault -o /dev/null -X PUT -d @- "$VAULT/data/llm/$name.rotator/new"
until xai "$KEY" "$XAI/auth/api-keys/$id/propagation" | jq -e '.icPropagation | length > 0 and all' >/dev/null; do sleep 0.25; done
key=$(vault "$VAULT/data/llm/$name.rotator/new" | jq -r .data.data.value)
for _ in 1 2 3; do [ "$(xai "$key" "$XAI/v1/api-key" | jq -r .api_key_id)" = "$id" ]; done
chat "$key"
vault "$VAULT/data/llm/$name" |
  jq --arg key "$key" '{data: (.data.data + {api_key: $key}), options: {cas: .data.metadata.version}}' |
  vault -o /dev/null -X PUT -d @- "$VAULT/data/llm/$name"
[ "$(vault "$VAULT/data/llm/$name" | jq -r .data.data.api_key)" = "$key" ]
chat "$key"
vault -X DELETE "$VAULT/metadata/llm/$name.rotator/new"
