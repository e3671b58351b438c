package kinesistest

import "time"

// newSetting is the rest of newControl: operations that change what a stream is set to.
func newSetting(op string) input {
	switch op {
	case "IncreaseStreamRetentionPeriod":
		return &retentionInput{increase: true}
	case "DecreaseStreamRetentionPeriod":
		return &retentionInput{}
	case "UpdateMaxRecordSize":
		return &updateMaxRecordSizeInput{}
	case "UpdateStreamMode":
		return &updateStreamModeInput{}
	case "UpdateStreamRecordDistributionStrategy":
		return &updateStrategyInput{}
	case "StartStreamEncryption":
		return &encryptionInput{start: true}
	case "StopStreamEncryption":
		return &encryptionInput{}
	case "AddTagsToStream":
		return &addTagsInput{}
	case "RemoveTagsFromStream":
		return &removeTagsInput{}
	case "ListTagsForStream":
		return &listTagsInput{}
	case "TagResource":
		return &tagResourceInput{}
	case "UntagResource":
		return &untagResourceInput{}
	case "ListTagsForResource":
		return &listResourceTagsInput{}
	}
	return nil
}

// retentionInput is IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod.
type retentionInput struct {
	address
	RetentionPeriodHours *int
	increase             bool
}

func (in *retentionInput) run(r *request) (any, *Error) {
	if in.RetentionPeriodHours == nil {
		return nil, invalid("retentionPeriodHours", "null", "not be null")
	}
	hours := *in.RetentionPeriodHours
	if hours < minRetentionHours || hours > maxRetentionHours {
		return nil, invalidArgument("Retention period of %d hours is not in the range [%d, %d].", hours, minRetentionHours, maxRetentionHours)
	}
	st, err := in.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.status != statusActive {
		return nil, st.busy()
	}
	if in.increase && hours < st.retention {
		return nil, invalidArgument("Requested retention period (%d hours) for stream %s can not be shorter than existing retention period (%d hours). "+
			"Use DecreaseRetentionPeriod API.", hours, st.name, st.retention)
	}
	if !in.increase && hours > st.retention {
		return nil, invalidArgument("Requested retention period (%d hours) for stream %s can not be longer than existing retention period (%d hours). "+
			"Use IncreaseRetentionPeriod API.", hours, st.name, st.retention)
	}
	st.sweep(r.now)
	st.retention = hours
	st.sweep(r.now)
	return nil, nil
}

// updateMaxRecordSizeInput is UpdateMaxRecordSize.
type updateMaxRecordSizeInput struct {
	address
	MaxRecordSizeInKiB *int
}

func (in *updateMaxRecordSizeInput) run(r *request) (any, *Error) {
	if in.MaxRecordSizeInKiB == nil {
		return nil, invalid("maxRecordSizeInKiB", "null", "not be null")
	}
	if err := checkRecordSize(*in.MaxRecordSizeInKiB); err != nil {
		return nil, err
	}
	if err := in.byARN(); err != nil {
		return nil, err
	}
	return in.change(r, func(st *Stream) *Error {
		st.recordKiB = *in.MaxRecordSizeInKiB
		return nil
	})
}

// byARN refuses to be called by name, for operations that only take an ARN.
func (a address) byARN() *Error {
	if a.StreamARN == "" {
		return invalid("streamARN", "null", "not be null")
	}
	return nil
}

// change runs do on an active stream, under its lock.
func (a address) change(r *request, do func(*Stream) *Error) (any, *Error) {
	st, err := a.find(r)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.status != statusActive {
		return nil, st.busy()
	}
	return nil, do(st)
}

// updateStreamModeInput is UpdateStreamMode.
type updateStreamModeInput struct {
	address
	StreamModeDetails *modeDetails
}

func (in *updateStreamModeInput) run(r *request) (any, *Error) {
	if in.StreamModeDetails == nil || in.StreamModeDetails.StreamMode != Provisioned && in.StreamModeDetails.StreamMode != OnDemand {
		return nil, invalid("streamModeDetails.streamMode", "null", "satisfy enum value set: [PROVISIONED, ON_DEMAND]")
	}
	if err := in.byARN(); err != nil {
		return nil, err
	}
	return in.change(r, func(st *Stream) *Error {
		st.modeTimes = within(st.modeTimes, r.now, 24*time.Hour)
		if len(st.modeTimes) >= 2 && !r.srv.cfg.Limits.Off {
			return limitExceeded("The mode of stream %s was changed twice within the last 24 hours.", st.name)
		}
		mode := in.StreamModeDetails.StreamMode
		if mode == st.mode {
			return inUse("Stream %s under account %s is already in mode %s", st.name, r.srv.cfg.Account, mode)
		}
		if mode == Provisioned && st.strategy == Auto {
			return invalidArgument("Stream %s has the record distribution strategy AUTO, which the mode PROVISIONED does not support", st.name)
		}
		st.modeTimes = append(st.modeTimes, r.now)
		st.later(r.now, statusUpdating, func() { st.mode, st.status = mode, statusActive })
		return nil
	})
}

// updateStrategyInput is UpdateStreamRecordDistributionStrategy.
type updateStrategyInput struct {
	address
	RecordDistributionStrategy string
}

func (in *updateStrategyInput) run(r *request) (any, *Error) {
	if err := in.byARN(); err != nil {
		return nil, err
	}
	return in.change(r, func(st *Stream) *Error {
		if in.RecordDistributionStrategy == "" {
			return invalid("recordDistributionStrategy", "null", "not be null")
		}
		if err := checkStrategy(in.RecordDistributionStrategy, st.mode); err != nil {
			return err
		}
		st.strategy = in.RecordDistributionStrategy
		return nil
	})
}

// encryptionInput is StartStreamEncryption and StopStreamEncryption. No key is checked:
// there is no key service.
type encryptionInput struct {
	address
	EncryptionType string
	KeyId          string
	start          bool
}

func (in *encryptionInput) run(r *request) (any, *Error) {
	if in.EncryptionType != encryptionKMS {
		return nil, invalid("encryptionType", in.EncryptionType, "satisfy enum value set: [KMS]")
	}
	if in.KeyId == "" {
		return nil, invalid("keyId", in.KeyId, "have length greater than or equal to 1")
	}
	key := ""
	if in.start {
		key = in.KeyId
	}
	return in.change(r, func(st *Stream) *Error {
		st.later(r.now, statusUpdating, func() { st.keyID, st.status = key, statusActive })
		return nil
	})
}
