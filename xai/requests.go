package xai

// The bodies of requests, as xAI's reference spells them.

type createBody struct {
	Name       string   `json:"name"`
	ACLs       []string `json:"acls"`
	QPS        *int     `json:"qps,omitempty"`
	QPM        *int     `json:"qpm,omitempty"`
	TPM        *string  `json:"tpm,omitempty"`
	ExpireTime *string  `json:"expireTime,omitempty"`
}

type rotateBody struct {
	ExpireTime          *string `json:"expireTime,omitempty"`
	OldSecretExpireTime *string `json:"oldSecretExpireTime,omitempty"`
}

type updateBody struct {
	APIKey    updateFields `json:"apiKey"`
	FieldMask string       `json:"fieldMask"`
}

type updateFields struct {
	ID         string   `json:"apiKeyId,omitempty"` // by the guide's path only, where the key object is sent
	TeamID     string   `json:"teamId,omitempty"`
	Name       *string  `json:"name,omitempty"`
	ACLs       []string `json:"aclStrings,omitempty"`
	QPS        *int     `json:"qps,omitempty"`
	QPM        *int     `json:"qpm,omitempty"`
	TPM        *string  `json:"tpm,omitempty"`
	Disabled   *bool    `json:"disabled,omitempty"`
	ExpireTime *string  `json:"expireTime,omitempty"`
}

type chatBody struct {
	Model     string        `json:"model"`
	Messages  []chatMessage `json:"messages"`
	MaxTokens int           `json:"max_tokens"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type usageBody struct {
	AnalyticsRequest struct {
		TimeRange struct {
			StartTime string `json:"startTime"`
			EndTime   string `json:"endTime"`
			Timezone  string `json:"timezone"`
		} `json:"timeRange"`
		TimeUnit string       `json:"timeUnit"`
		Values   []usageValue `json:"values"`
		GroupBy  []string     `json:"groupBy"`
		Filters  []string     `json:"filters"`
	} `json:"analyticsRequest"`
}

type usageValue struct {
	Name        string `json:"name"`
	Aggregation string `json:"aggregation"`
}
